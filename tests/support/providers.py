"""All stand-ins behind one TLS port, with the bill and the repositories a test looks at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from support.bill import Bill
from support.certificates import Authority
from support.clouds import Clouds
from support.models import Anthropic, OpenAI
from support.more_models import Bedrock, ChatShape, Cohere, Gemini
from support.realtime import Realtime
from support.services import GitHub, GitServer, Stripe
from support.stand_in import StandIn

UNMAPPED = "api.unmapped.example"
INFERENCE = "llm.unmapped.example"
OTHER = "other.unmapped.example"


@dataclass(frozen=True, slots=True)
class Providers:
    """What agents talk to in the tests."""

    authority: Authority
    stand_in: StandIn
    bill: Bill
    github: GitHub
    stripe: Stripe
    git: GitServer
    clouds: Clouds
    realtime: Realtime

    @classmethod
    def start(cls, folder: Path) -> Providers:
        """Start them; `stop` them again."""
        authority = Authority.create(folder / "ca")
        bill, github, stripe, clouds = Bill(), GitHub(), Stripe(), Clouds()
        openai = OpenAI(bill)
        git = GitServer(folder / "git")
        git.create("acme/website")
        stand_in = StandIn(
            authority,
            {
                "api.openai.com": openai,
                "api.anthropic.com": Anthropic(bill),
                "api.github.com": github,
                "uploads.github.com": github,
                "api.stripe.com": stripe,
                "github.com": git,
                **clouds.hosts(),
                "generativelanguage.googleapis.com": Gemini(bill),
                "api.mistral.ai": ChatShape(bill, "/v1", groq=False),
                "api.groq.com": ChatShape(bill, "/openai/v1", groq=True),
                "api.cohere.com": Cohere(bill),
                "bedrock-runtime.us-east-1.amazonaws.com": Bedrock(bill),
            },
            extra_hosts=(UNMAPPED, INFERENCE, OTHER),
        )
        return cls(authority, stand_in, bill, github, stripe, git, clouds, openai.realtime)

    def forget(self) -> None:
        """As if nothing had happened yet."""
        self.stand_in.forget()
        self.bill.clear()
        self.clouds.fill()
        self.realtime.forget()
        self.github.repositories |= {"acme/legacy-billing", "acme/website", "acme/docs"}

    def stop(self) -> None:
        """End the server."""
        self.stand_in.stop()
