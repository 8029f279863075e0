"use strict";
setInterval(async () => {
    try {
        const answer = await fetch("/governance/data");
        if (answer.status === 401) { location.href = "/login"; return; }
        if (answer.ok) document.getElementById("main").innerHTML = await answer.text();
        const pending = document.querySelectorAll(".reviews a").length;
        document.title = `(${pending}) Governance`;
    } catch { /* the console itself is away: the next try tells */ }
}, 4000);
