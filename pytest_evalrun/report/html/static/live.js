// The page while its run goes on: asks the server that it came from, and follows what that tells. Reads only.
"use strict";
(() => {
  const { h, bdi, byId, number, duration, plural, config } = report;
  const LONGEST_LOG = 200000, LOG_PAUSE = 1000;
  const state = {};

  async function get(path, query) {
    const words = Object.entries(query || {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
    const answer = await fetch(`${config.base}${path}${words.length ? `?${new URLSearchParams(words)}` : ""}`, { cache: "no-store" });
    if (!answer.ok) throw Object.assign(new Error(`${answer.status}: ${(await answer.text()).slice(0, 200)}`), { status: answer.status });
    return answer;
  }
  const json = async (path, query) => (await get(path, query)).json();

  // A pair that has no result yet has a log already.
  function bare(anchor) {
    const found = [...(state.running || []), ...(state.failed || [])].find((each) => each.anchor === anchor);
    return { anchor, id: found ? found.pair : anchor, status: found && !("outcome" in found) ? "running" : "pending", gates: [], scored: [], binary: [], better: {}, total: 0 };
  }
  report.source = {
    async detail(anchor) {
      const told = await json("/api/pair", { anchor }).catch((error) => { if (error.status === 404) return bare(anchor); throw error; });
      return told.status === "pending" && (state.running || []).some((each) => each.anchor === anchor) ? { ...told, status: "running" } : told;
    },
    samples: (query) => json("/api/samples", query),
  };

  // ---- logs that follow -------------------------------------------------------------------------------------------

  let following = 0;
  report.opened = (view, article) => {
    const box = h("pre", { class: "log", tabindex: 0, "aria-label": "Log" }, "");
    const buttons = ["infer", "eval"].map((stage) => h("button", { type: "button", "data-stage": stage, click: () => follow(stage) }, stage === "infer" ? "inference" : "evaluation"));
    article.append(h("section", { "aria-label": "Logs" }, h("h3", { "aria-level": 2 }, "Log"), h("div", { class: "tools" }, h("div", { class: "choice", role: "group", "aria-label": "Which log" }, buttons)), box));
    async function follow(stage) {
      const mine = ++following;
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.stage === stage));
      box.textContent = "";
      let from = null;
      while (mine === following && box.isConnected) {
        let piece = null;
        try { piece = await json("/api/log", { anchor: view.anchor, stage, from }); } catch { /* the server is away; asked again */ }
        if (mine !== following) return;
        if (piece) {
          if (piece.text) append(box, piece.text);
          else if (from === null) box.dataset.empty = "";
          from = piece.next;
        }
        if (!piece || !piece.more) await new Promise((done) => setTimeout(done, document.hidden ? 5 * LOG_PAUSE : LOG_PAUSE));
      }
    }
    follow(view.detail.status === "running" || view.detail.error ? "infer" : "eval");
  };
  report.closed = () => { following++; };
  function append(box, text) {
    const below = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    box.append(text);
    while (box.textContent.length > LONGEST_LOG && box.childNodes.length > 1) box.firstChild.remove();
    if (below) box.scrollTop = box.scrollHeight;
  }

  // ---- how far the run is -------------------------------------------------------------------------------------------

  const link = (each) => (each.anchor ? h("a", { href: `#${each.anchor}` }, bdi(each.pair)) : bdi(each.pair || "–"));
  function table(label, head, rows) {
    if (!rows.length) return null;
    return h("section", { class: "panel" }, h("h3", { "aria-level": 2 }, label), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, h("table", { class: "plain" },
      h("thead", null, h("tr", null, head.map((name) => h("th", { scope: "col" }, name)))), h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell) => h("td", null, cell))))))));
  }
  function progressOf(each) {
    const found = each.state;
    if (!found) return "starting";
    const done = Math.min(found.total_data, (found.current_batch - 1) * found.max_batch_size + found.batch_completed);
    return [h("progress", { class: "bar", max: 100, value: Math.round(each.share * 100), "aria-label": `${Math.floor(each.share * 100)} %` }), h("small", { class: "quiet" }, `${done > 0 ? done : 0} of ${found.total_data}${found.failed_batches ? `, ${found.failed_batches} failed` : ""}${found.retry_count ? `, ${found.retry_count} retried` : ""}`)];
  }
  function standing() {
    const words = { live: "Running", ended: "Ended", dead: "Dead: its process ended without a word", none: "No session has begun", unknown: "On another machine, which cannot be asked", gone: "The run is gone" };
    if (state.session === "ended" && state.interrupted) return `Interrupted${state.stopped ? ` by ${state.stopped}` : ""}`;
    return words[state.session] || state.session || "";
  }
  const sessions = (each) => (each.sessions ? `${plural(each.sessions.sessions, "session")}, longest ${duration(each.sessions.longest)}` : "");
  const boardOf = (each) => [each.board || each.name || "", each.state || each.word || "", each.pair ? link(each) : "", each.reason || ""];

  let away = false, drawn = "";
  function draw() {
    const box = byId("live"), progress = state.progress || { share: 0, done: 0, selected: 0 };
    const open = document.activeElement && box.contains(document.activeElement);
    const now = JSON.stringify([state, away]);
    // Whoever reads a table with the keyboard keeps his place while nothing changes.
    if (now === drawn || (open && document.activeElement.tagName === "A" && !away && Date.now() - draw.last < 3000)) return;
    drawn = now; draw.last = Date.now();
    const percent = Math.floor(progress.share * 100), counts = Object.entries(state.counts || {}).filter(([, each]) => each);
    box.replaceChildren(...[
      h("div", { class: "chips" }, h("span", { class: "state", role: "status" }, standing()),
        h("span", null, h("b", null, `${percent} %`), ` ${progress.done} of ${plural(progress.selected, "pair")}`),
        counts.map(([word, each]) => h("span", null, h("b", null, String(each)), ` ${word}`)),
        progress.seconds ? h("span", null, `for ${duration(progress.seconds)}`) : null,
        progress.left && progress.done < progress.selected ? h("span", null, `about ${duration(progress.left)} left`) : null,
        away ? h("span", { class: "lost", role: "alert" }, "! The server does not answer; asked again by and by.") : null),
      h("progress", { class: "bar", max: 100, value: percent, "aria-label": `${percent} % of the pairs` }),
      state.death ? h("div", { class: "error-text" }, `likely reason: ${state.death.reason}\n${state.death.evidence || ""}\ncarry on with: ${state.death.command}`) : null,
      (state.problems || []).map((problem) => h("p", { class: "bad" }, `! ${problem}`)),
      h("div", { class: "panels" }, [
        table(`Running (${(state.running || []).length})`, ["Pair", "Progress", "A second", "Where", "For"], (state.running || []).map((each) => [link(each), progressOf(each), each.rate ? number(each.rate) : "", [each.worker, each.slot].filter(Boolean).join(" "), [duration(each.seconds), sessions(each)].filter(Boolean).join(", ")])),
        table("Slots", ["Worker", "Slot", "Pair"], (state.slots || []).map((each) => [bdi(each.worker), bdi(each.slot || ""), each.pair ? bdi(each.pair) : "free"])),
        table("Boards", ["Board", "State", "Pair", ""], (Array.isArray(state.boards) ? state.boards : []).map(boardOf)),
        state.jobs ? table(`Jobs on ${state.jobs.engine}`, ["Unit", "Job", "State", "Node", "Items", "Why"], (state.jobs.jobs || []).map((job) => [bdi(job.unit), bdi(job.job || "–"), bdi(job.state), bdi(job.node || ""), `${job.done}/${job.items}`, bdi(job.reason || "")])) : null,
        table("Failed last", ["Pair", "Why"], (state.failed || []).slice(0, 8).map((each) => [link(each), h("span", { dir: "auto" }, each.reason || "see its log")])),
      ].filter(Boolean)),
      state.log && state.log.length ? h("details", null, h("summary", null, "Last lines of the run's log"), h("pre", { class: "log" }, state.log.join("\n"))) : null,
    ].flat().filter(Boolean));
    const details = box.querySelector("details");
    if (details) { details.open = draw.log; details.addEventListener("toggle", () => { draw.log = details.open; }); }
  }
  draw.last = 0;
  draw.log = false;

  // What the server made of its templates: markup of ours, in which all text of others is escaped.
  let asking = false, again = false;
  async function results() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const text = await (await get("/api/page")).text();
      const made = new DOMParser().parseFromString(text, "text/html");
      const focused = document.activeElement && document.activeElement.id;
      const live = byId("live");
      byId("sections").replaceChildren(...made.body.childNodes);
      place(live);
      report.filterPairs();
      if (focused && byId(focused)) byId(focused).focus();
      if (report.view && ["running", "pending"].includes(report.view.detail.status) && (await json("/api/pair", { anchor: report.view.anchor })).status !== "pending") report.reopen();
    } catch { away = true; draw(); }
    asking = false;
    if (again) { again = false; results(); }
  }

  function follow() {
    const events = new EventSource(`${config.base}/api/events`);
    let missed = false;
    events.addEventListener("snapshot", (event) => { Object.assign(state, JSON.parse(event.data)); draw(); });
    events.addEventListener("results", results);
    events.addEventListener("open", () => { if (missed) results(); away = missed = false; draw(); });
    events.addEventListener("error", () => {
      away = missed = true;
      draw();
      if (events.readyState === EventSource.CLOSED) setTimeout(follow, 3000);
    });
  }
  // The verdict comes first, what runs next.
  function place(live) { byId("sections").querySelector("header").after(live); }
  place(byId("live"));
  document.addEventListener("DOMContentLoaded", follow);
})();
