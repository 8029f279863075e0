"""A process that works on a store until it is killed; says on stdout what it was told is durable.

`python store_load.py FOLDER NUMBER [normal]`: `normal` is the mutant that does not sync each commit.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from douane.store import recovery
from douane.store.clock import boot_us, wall_us
from douane.store.interface import Admitted, Intent, MustWait, TooManyReviews
from douane.store.sqlite import SqliteStore
from support.register import Place, completed, intent, priced, review

CAP_NANO = 10**12


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


async def work(store: SqliteStore, number: str, worker: int) -> None:
    count = 0
    while True:
        count += 1
        name = f"{number}-{worker}-{count}"
        call: Intent
        if worker == 0 and count % 5 == 0:
            held = review(review_id=f"review-{name}", semantic_digest=name, agent=f"agent-{worker}")
            if isinstance(await store.open_review(held, most_open=1_000_000), TooManyReviews):
                continue
            await store.give_verdict(held.review_id, approve=True, reviewer="rita", channel="cli", note=None)
            say("review", held.review_id)
            call = intent(call_id=name, agent=held.agent, review_id=held.review_id)
        elif count % 2:
            call = priced(1000 + worker, CAP_NANO, call_id=name, agent=f"agent-{worker % 3}")
        else:
            call = intent(call_id=name, agent=f"agent-{worker % 3}")
        answer = await store.admit(call)
        assert isinstance(answer, Admitted | MustWait), answer
        if isinstance(answer, Admitted):
            say("intent", name, str(answer.seq), answer.hash)
            if count % 7:
                await asyncio.sleep(0)
            store.settle(completed(call, 900 if call.reserve_nano else None))


async def main(folder: str, number: str) -> None:
    store = await Place(Path(folder)).open(clock=wall_us, boot_clock=boot_us)
    say("ready")
    await asyncio.gather(*(work(store, number, worker) for worker in range(16)))


if __name__ == "__main__":
    if sys.argv[3:] == ["normal"]:
        configure = recovery._configure

        def carelessly(connection: object) -> None:
            configure(connection)  # type: ignore[arg-type]
            connection.execute("PRAGMA synchronous = NORMAL")  # type: ignore[attr-defined]

        recovery._configure = carelessly  # type: ignore[assignment]
    asyncio.run(main(sys.argv[1], sys.argv[2]))
