"use strict";
// Runs before mitmweb's own script. No key and no hover decides, refusals are shown, the list reconnects.
(() => {
    const toast = (message, bad) => {
        const box = document.querySelector(".douane-toasts") || document.body.appendChild(
            Object.assign(document.createElement("div"), { className: "douane-toasts" }));
        box.setAttribute("role", "status");
        const line = Object.assign(document.createElement("div"), { className: "douane-toast" + (bad ? " bad" : ""), textContent: message });
        box.append(line);
        setTimeout(() => line.remove(), bad ? 12000 : 5000);
    };

    // Stock's own handler takes every key it sees: `a` approves, `x` rejects, a letter never reaches a field, Tab never
    // leaves it. It sees only the keys that move through the list, and none while a dialog is open.
    const isField = (node) => node instanceof HTMLElement && !node.classList.contains("inline-input")
        && (node.tagName === "INPUT" || node.tagName === "TEXTAREA" || node.tagName === "SELECT");
    const listKeys = new Set(["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", "Escape"]);
    const browserKeys = new Set(["Tab", "Shift", "F5"]);
    for (const kind of ["keydown", "keypress", "keyup"]) {
        window.addEventListener(kind, (event) => {
            const away = isField(event.target) || document.querySelector("dialog[open]") !== null;
            if (!away && listKeys.has(event.key)) return;
            event.stopImmediatePropagation();
            const onButton = event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement;
            const pressed = onButton && (event.key === "Enter" || event.key === " ");
            if (!away && !pressed && !browserKeys.has(event.key) && !event.ctrlKey && !event.metaKey) event.preventDefault();
        }, true);
    }
    // Fields of stock that look editable are not.
    for (const kind of ["focusin", "dblclick", "beforeinput", "paste", "drop"]) {
        window.addEventListener(kind, (event) => {
            if (event.target instanceof HTMLElement && event.target.closest(".inline-input")) {
                event.stopImmediatePropagation();
                if (kind !== "focusin") event.preventDefault(); else event.target.blur();
            }
        }, true);
    }

    const xsrf = () => document.body.dataset.xsrf;
    const plainFetch = window.fetch.bind(window);
    const content = /\/flows\/([0-9a-f-]{36})\/request\/content\//;
    const verdict = /\/flows\/([0-9a-f-]{36})\/(resume|kill)$/;
    const store = () => window.backend && window.backend.store && window.backend.store.getState();
    const flowOf = (id) => {
        const state = store();
        return state && (state.flows.byId instanceof Map ? state.flows.byId.get(id) : state.flows.byId[id]);
    };
    const selected = () => {
        const state = store();
        const chosen = state && state.flows.selected;
        return chosen && chosen.length === 1 ? (typeof chosen[0] === "string" ? flowOf(chosen[0]) : chosen[0]) : null;
    };

    const ask = (id, kind) => new Promise((done) => {
        const flow = flowOf(id);
        const approve = kind === "resume";
        const box = Object.assign(document.createElement("dialog"), { className: "douane" });
        const parts = (flow ? flow.comment : id).split(" · ");
        const sentence = parts[4] || parts[0];
        box.append(
            Object.assign(document.createElement("p"), { textContent: `${approve ? "Approve" : "Reject"} ${parts[0]} by ${parts[3] || "?"}?` }),
            Object.assign(document.createElement("p"), { className: "sentence", textContent: sentence }),
            Object.assign(document.createElement("p"), { textContent: approve ? "It is sent once, exactly as shown." : "It is not sent." }));
        const note = Object.assign(document.createElement("textarea"), { placeholder: "Note for the register (may be empty)", maxLength: 2000 });
        const menu = document.createElement("menu");
        const cancel = Object.assign(document.createElement("button"), { textContent: "Cancel" });
        const go = Object.assign(document.createElement("button"), { textContent: approve ? "Approve" : "Reject", className: approve ? "douane-approve" : "douane-reject" });
        go.dataset.verdict = kind;
        go.style.color = "#fff";
        menu.append(cancel, go);
        box.append(note, menu);
        // Whoever double-clicked did not read this yet.
        go.disabled = true;
        setTimeout(() => { go.disabled = false; }, 800);
        const end = (value) => { box.close(); box.remove(); done(value); };
        cancel.addEventListener("click", () => end(null));
        box.addEventListener("cancel", () => end(null));
        go.addEventListener("click", (event) => { if (event.isTrusted) end(note.value); });
        document.body.append(box);
        box.showModal();
        note.focus();
    });

    const cards = new Map(); // the digest of each card that was shown whole: an approval names it
    const decide = async (id, kind) => {
        if (document.querySelector("dialog[open]")) return;
        const card = cards.get(id);
        const note = await ask(id, kind);
        if (note === null) return;
        try {
            const answer = await plainFetch(`./flows/${id}/${kind}`, {
                method: "POST", headers: { "Content-Type": "application/json", "X-XSRFToken": xsrf() },
                body: JSON.stringify({ note, card }),
            });
            const told = await answer.json().catch(() => ({ message: `The console answered ${answer.status}.` }));
            toast(told.message, !answer.ok);
            if (answer.status === 401) setTimeout(() => { location.href = "/login"; }, 3000);
        } catch {
            toast("The console did not answer. The outcome is UNKNOWN: look at the review's state again.", true);
        }
    };

    window.fetch = async (resource, init) => {
        const url = new URL(typeof resource === "string" ? resource : resource.url || String(resource), location.href);
        const match = verdict.exec(url.pathname);
        const method = (init && init.method || "GET").toUpperCase();
        if (match && method === "POST") {
            await decide(match[1], match[2]);
            return new Response(null, { status: 204 });
        }
        const answer = await plainFetch(resource, init);
        const shown = content.exec(url.pathname);
        if (shown && answer.headers.has("Douane-Card")) cards.set(shown[1], answer.headers.get("Douane-Card"));
        if (!answer.ok && method !== "GET") toast("This is closed here.", true);
        if (answer.status === 401) location.href = "/login";
        return answer;
    };

    // Reconnect: stock shows a stale list under a small tag.
    let banner = null;
    const say = (message) => {
        if (!message) { if (banner) banner.remove(); banner = null; return; }
        if (!banner) {
            banner = Object.assign(document.createElement("div"), { className: "douane-banner" });
            banner.setAttribute("role", "alert");
            document.body.prepend(banner);
        }
        banner.textContent = message;
    };
    let away = false;
    const look = async () => {
        try {
            const answer = await plainFetch("./state");
            if (answer.status === 401) { location.href = "/login"; return; }
            const state = await answer.json();
            if (away) { location.reload(); return; }
            say(state.node_answers ? "" : "The node does not answer: nothing can be decided now. Trying again…");
        } catch {
            away = true;
            say("The connection to the console is lost; what you see may be old. Trying again…");
        }
    };
    setInterval(look, 2000);
    const PlainSocket = window.WebSocket;
    window.WebSocket = class extends PlainSocket {
        constructor(...args) {
            super(...args);
            this.addEventListener("close", () => { away = true; say("The connection to the console is lost; what you see may be old. Trying again…"); });
        }
    };

    // Our own bar, and the verdict's buttons beside the opened review.
    let pendingOnly = true;
    const filter = () => {
        const state = store();
        if (!state) return;
        window.backend.store.dispatch({ type: "ui/filters/setFilter", payload: pendingOnly ? "~pending" : "" });
    };
    // One text becomes columns; the style orders them. React writes a changed text over all of it: it is divided anew.
    const columns = ["tool", "state", "tier", "agent", "what", "why", "held", "expires"];
    const headings = ["Tool", "State", "Tier", "Agent", "What it does", "Why", "Held", "Expires"];
    const divide = (cell, parts) => {
        const line = Object.assign(document.createElement("div"), { className: "douane-row" });
        line.dataset.state = parts[1];
        parts.forEach((part, n) => {
            if (n) line.append(Object.assign(document.createElement("span"), { className: "douane-dot", textContent: " · " }));
            line.append(Object.assign(document.createElement("span"), { className: `douane-${columns[n]}`, textContent: part, title: part }));
        });
        cell.replaceChildren(line);
    };
    const span = (ms) => {
        const minutes = Math.floor(Math.abs(ms) / 60000);
        if (minutes < 1) return `${Math.floor(Math.abs(ms) / 1000)} s`;
        return minutes < 60 ? `${minutes} min` : minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
    };
    const tick = () => {
        for (const cell of document.querySelectorAll("td .douane-held")) {
            cell.dataset.shown = `${span(Date.now() - Date.parse(cell.textContent))} ago`;
        }
        for (const cell of document.querySelectorAll("td .douane-expires")) {
            const left = Date.parse(cell.textContent) - Date.now();
            const open = ["pending", "approved"].includes(cell.parentElement.dataset.state);
            cell.dataset.shown = open && left > 0 ? `in ${span(left)}` : "";
        }
    };
    const rows = () => {
        const head = document.querySelector(".flow-table th.col-comment");
        if (head && !head.firstElementChild) divide(head, headings);
        let changed = false;
        for (const cell of document.querySelectorAll(".flow-table td.col-comment")) {
            if (cell.firstElementChild || !cell.textContent) continue;
            divide(cell, cell.textContent.split(" · "));
            changed = true;
        }
        if (changed) tick();
    };
    const bar = () => {
        const line = Object.assign(document.createElement("div"), { className: "douane-bar" });
        const waiting = Object.assign(document.createElement("b"), { textContent: "Approvals" });
        const pending = Object.assign(document.createElement("button"), { textContent: "Pending" });
        const all = Object.assign(document.createElement("button"), { textContent: "All" });
        const press = (only) => { pendingOnly = only; pending.setAttribute("aria-pressed", String(only)); all.setAttribute("aria-pressed", String(!only)); filter(); };
        pending.addEventListener("click", () => press(true));
        all.addEventListener("click", () => press(false));
        const plain = Object.assign(document.createElement("a"), { textContent: "Governance", href: "/governance" });
        const out = Object.assign(document.createElement("button"), { textContent: `Log out ${document.body.dataset.reviewer}`, className: "who" });
        out.addEventListener("click", async () => {
            await plainFetch("./logout", { method: "POST", headers: { "X-XSRFToken": xsrf() } }).catch(() => {});
            location.href = "/login";
        });
        line.append(waiting, pending, all, plain, out);
        document.body.prepend(line);
        press(false);
        const newestFirst = () => {
            if (!store()) { requestAnimationFrame(newestFirst); return; }
            window.backend.store.dispatch({ type: "flows/sort", payload: { column: "timestamp", desc: true } });
        };
        newestFirst();
        new MutationObserver(rows).observe(document.body, { childList: true, characterData: true, subtree: true });
        rows();
        setInterval(() => {
            tick();
            const state = store();
            if (!state) return;
            const flows = state.flows.list || [];
            const open = flows.filter((flow) => flow.intercepted).length;
            waiting.textContent = `Approvals: ${open} pending of ${flows.length}`;
            document.title = `(${open}) Approvals`;
        }, 500);
    };
    const buttons = () => {
        const detail = document.querySelector(".flow-detail");
        const old = document.querySelector(".douane-verdict");
        const flow = selected();
        if (!detail || !flow || !flow.intercepted) { if (old) old.remove(); return; }
        if (old && old.dataset.id === flow.id) return;
        if (old) old.remove();
        const line = Object.assign(document.createElement("div"), { className: "douane-verdict" });
        line.dataset.id = flow.id;
        for (const [kind, label, style] of [["resume", "Approve", "douane-approve"], ["kill", "Reject", "douane-reject"]]) {
            const button = Object.assign(document.createElement("button"), { textContent: label, className: style });
            button.addEventListener("click", () => decide(flow.id, kind));
            line.append(button);
        }
        detail.prepend(line);
    };
    window.addEventListener("DOMContentLoaded", () => { bar(); setInterval(buttons, 150); });
})();
