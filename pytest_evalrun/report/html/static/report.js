// Opens pairs and shows their samples. What a model wrote is only ever text here: it becomes text nodes, never markup.
"use strict";
const report = (() => {
  const CUT = 3000, BLOCK = 20000, PAGE = 50, MOST_CELLS = 4e6, LONGEST_DIFF = 20000, MOST_LABELS = 40, TURNS = 20;
  const SIGNS = { error: "!", failed: "✗", pending: "…", passed: "✓", skipped: "–" };
  const FILTERS = ["all", "wrong", "failed", "worst", "best", "flipped"];
  const SVG = "http://www.w3.org/2000/svg";
  const byId = (id) => document.getElementById(id);
  const config = JSON.parse(byId("page-config").textContent);

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (typeof value === "function") node.addEventListener(name, value);
      else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== ""));
    return node;
  }
  const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const bdi = (text) => h("bdi", null, String(text));
  const pick = (label, on, more) => h("button", { type: "button", class: "small", click: on, ...more }, label);
  const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
  const count = (n) => n.toLocaleString("en-US");

  function number(value) {
    if (typeof value !== "number") return value === null || value === undefined ? "–" : String(value);
    if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
    const size = Math.abs(value);
    return size >= 1e4 && size < 1e6 ? value.toFixed(0) : String(+value.toPrecision(4));
  }
  // Of a measurement as many digits whatever they are, so that they stand below each other.
  const exact = (value) => (typeof value !== "number" ? number(value) : Math.abs(value) < 1e4 && (Math.abs(value) >= 1e-3 || !value) ? value.toPrecision(4) : number(value));
  function duration(seconds) {
    if (seconds < 1) return `${number(seconds * 1000)} ms`;
    if (seconds < 120) return `${number(seconds)} s`;
    const minutes = Math.floor(seconds / 60);
    return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }
  const moment = (text) => String(text).replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*(Z|\+00:00)$/, "$1 $2 UTC");
  const tag = (status) => h("span", { class: `tag ${status}` }, h("i", { "aria-hidden": "true" }, SIGNS[status] || "·"), status);
  // An address in our own data may lead to a file or a page, and nowhere that runs something.
  const safe = (href) => (/^(https?:|[^:]*$|[^:/?#]*[/?#])/i.test(href) ? href : null);

  // ---- texts -----------------------------------------------------------------------------------------------------

  // Half a character at the end of a piece would show as a question mark.
  function edge(text, at) {
    const code = text.charCodeAt(at - 1);
    return code >= 0xd800 && code < 0xdc00 ? at - 1 : at;
  }
  function textBox(text, { code = false, left = 0 } = {}) {
    const box = h("div", { class: code ? "text code" : "text", dir: "auto", tabindex: text.length > 600 ? 0 : null });
    if (text.length <= CUT) {
      box.textContent = text;
      return [box, left > 0 && h("p", { class: "after quiet" }, `${count(left)} more characters are in the file`)].filter(Boolean);
    }
    const end = edge(text, CUT);
    box.textContent = text.slice(0, end) + "…";
    const after = h("p", { class: "after" },
      pick(`Show all ${count(text.length)} characters`, () => { after.remove(); pour(box, text); box.focus(); }),
      left > 0 && h("span", { class: "quiet" }, `and ${count(left)} more are in the file`));
    return [box, after];
  }
  // In blocks that the browser lays out where they are seen, a few at a time: a megabyte on one line stops nothing.
  function pour(box, text) {
    let at = 0;
    box.textContent = "";
    const step = () => {
      for (let i = 0; i < 4 && at < text.length; i++) {
        const end = edge(text, Math.min(text.length, at + BLOCK));
        box.append(h("div", null, text.slice(at, end)));
        at = end;
      }
      if (at < text.length && box.isConnected) requestAnimationFrame(step);
    };
    step();
  }

  const WORD = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]|[\p{L}\p{N}\p{M}_]+|\s+|[^\s]/gu;
  function wordDiff(before, after) {
    if (before.length > LONGEST_DIFF || after.length > LONGEST_DIFF) return null;
    const a = before.match(WORD) || [], b = after.match(WORD) || [];
    let head = 0, tail = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
    const n = a.length - head - tail, m = b.length - head - tail;
    if (n * m > MOST_CELLS) return null;
    const wide = m + 1, table = new Uint16Array((n + 1) * wide);
    for (let i = n - 1; i >= 0; i--) {
      for (let j = m - 1; j >= 0; j--) {
        table[i * wide + j] = a[head + i] === b[head + j] ? table[(i + 1) * wide + j + 1] + 1
          : Math.max(table[(i + 1) * wide + j], table[i * wide + j + 1]);
      }
    }
    const keptA = new Set(), keptB = new Set();
    for (let i = 0, j = 0; i < n && j < m;) {
      if (a[head + i] === b[head + j]) { keptA.add(head + i++); keptB.add(head + j++); }
      else if (table[(i + 1) * wide + j] >= table[i * wide + j + 1]) i++;
      else j++;
    }
    const marked = (words, kept, name) => {
      const out = [];
      let run = "", changed = false;
      const flush = () => { if (run) out.push(changed ? h(name, null, run) : run); run = ""; };
      words.forEach((word, at) => {
        const is = at >= head && at < words.length - tail && !kept.has(at);
        if (is !== changed) { flush(); changed = is; }
        run += word;
      });
      flush();
      return out;
    };
    return { before: marked(a, keptA, "del"), after: marked(b, keptB, "ins") };
  }

  // ---- parts: what a value looks like ----------------------------------------------------------------------------

  const isText = (part) => ["text", "json", "number"].includes(part.kind);
  function brief(part) {
    if (!part || part.kind === "none") return "–";
    if (isText(part)) return part.text.slice(0, 160).replace(/\s+/g, " ");
    if (part.kind === "file") return part.name;
    if (part.kind === "messages") return brief({ kind: "text", text: (part.messages.find((message) => message.role === "user") || part.messages[0] || {}).text || "" });
    return part.kind;
  }
  const preview = (part) => (part && part.kind === "image" ? picture(part, "") : bdi(brief(part)));
  const picture = (part, alt) => h("img", { src: part.src, alt, loading: "lazy", width: part.width, height: part.height });
  function titled(title, ...children) {
    return h("div", { class: "part" }, h("h4", { "aria-level": 3 }, bdi(title)), ...children);
  }
  function shown(part) {
    if (!part || part.kind === "none") return [h("p", { class: "quiet" }, "none")];
    // A short list or object of JSON is read on one line; in JSON a line ends between values only.
    if (part.kind === "json" && part.text.length <= 80) return textBox(part.text.replace(/\n\s*/g, " "), { code: true });
    if (isText(part)) return textBox(part.text, { code: part.kind === "json", left: part.cut || 0 });
    if (part.kind === "image") return [h("div", { class: "images" }, h("figure", null, picture(part, "image")))];
    if (part.kind === "file") {
      const href = part.href && safe(part.href);
      return [h("p", null, href ? h("a", { href, rel: "noreferrer" }, bdi(part.name)) : bdi(part.name))];
    }
    if (part.kind === "messages") return [conversation(part.messages)];
    return textBox(JSON.stringify(part), { code: true });
  }
  function conversation(messages) {
    const turn = (message) => h("div", { class: `turn ${/^[a-z]+$/.test(message.role) ? message.role : ""}` }, h("b", null, bdi(message.role)), h("div", { class: "part" }, textBox(message.text || "", { left: message.cut || 0 })));
    const list = h("div", { class: "turns" }, messages.slice(0, TURNS).map(turn));
    if (messages.length > TURNS) {
      const more = pick(`Show all ${plural(messages.length, "turn")}`, () => more.replaceWith(...messages.slice(TURNS).map(turn)));
      list.append(more);
    }
    return list;
  }

  // ---- two images: side by side, what differs, one over the other -------------------------------------------------

  function imagesOf(record) {
    const found = record.inputs.filter((input) => input.part.kind === "image").map((input) => [input.name, input.part]);
    if (record.reference && record.reference.kind === "image") found.push(["reference", record.reference]);
    if (record.prediction && record.prediction.kind === "image") found.push(["prediction", record.prediction]);
    return found;
  }
  function imageBlock(record) {
    const found = imagesOf(record);
    const figures = h("div", { class: "images" }, found.map(([name, part]) => h("figure", null,
      h("figcaption", null, bdi(name), part.width ? ` ${part.width} × ${part.height}` : ""), picture(part, name))));
    if (found.length < 2 || found[found.length - 1][0] !== "prediction") return [figures];
    // What it should have been, or else what it was made from.
    const [[leftName, left], [rightName, right]] = found.slice(-2);
    figures.append(slider(left, right, leftName, rightName), difference(left, right, leftName));
    return [figures];
  }
  function difference(left, right, leftName) {
    const canvas = h("canvas", { role: "img", "aria-label": `difference of prediction and ${leftName}` });
    const words = h("span", null, "difference"), gain = h("input", { type: "range", min: 1, max: 16, value: 4, "aria-label": "Gain of the difference" });
    const figure = h("figure", null, h("figcaption", null, words), canvas, gain);
    Promise.all([left, right].map(loaded)).then((images) => {
      const [width, height] = sizeFor(images);
      const [a, b] = images.map((image) => pixels(image, width, height));
      const sizes = images.map((image) => `${image.naturalWidth} × ${image.naturalHeight}`);
      canvas.width = width; canvas.height = height;
      const draw = () => {
        const out = new ImageData(width, height);
        let sum = 0;
        for (let i = 0; i < a.length; i += 4) {
          const off = (Math.abs(a[i] - b[i]) + Math.abs(a[i + 1] - b[i + 1]) + Math.abs(a[i + 2] - b[i + 2])) / 3;
          sum += off;
          const lit = Math.min(255, off * gain.value);
          out.data[i] = Math.min(255, lit * 2); out.data[i + 1] = lit; out.data[i + 2] = Math.max(0, lit * 2 - 255); out.data[i + 3] = 255;
        }
        canvas.getContext("2d").putImageData(out, 0, 0);
        words.textContent = `difference × ${gain.value}, mean ${number(sum / (a.length / 4))} of 255${sizes[0] === sizes[1] ? "" : `; sizes differ: ${sizes.join(", ")}`}`;
      };
      gain.addEventListener("input", draw);
      draw();
    }).catch(() => { figure.replaceChildren(h("p", { class: "quiet" }, "The browser lets nobody compare images that do not stand in the page.")); });
    return figure;
  }
  const loaded = (part) => new Promise((done, failed) => { const image = new Image(); image.onload = () => done(image); image.onerror = failed; image.src = part.src; });
  function sizeFor(images) {
    const width = Math.max(...images.map((image) => image.naturalWidth)), height = Math.max(...images.map((image) => image.naturalHeight));
    const scale = Math.min(1, Math.sqrt(MOST_CELLS / 4 / (width * height)));
    return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  }
  function pixels(image, width, height) {
    const canvas = h("canvas", { width, height }), context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  }
  function slider(left, right, leftName, rightName) {
    const over = picture(right, rightName), line = h("i", { "aria-hidden": "true" });
    const range = h("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": `From ${leftName} to ${rightName}` });
    const move = () => { over.style.clipPath = `inset(0 0 0 ${range.value}%)`; line.style.left = `${range.value}%`; };
    range.addEventListener("input", move);
    move();
    return h("figure", null, h("figcaption", null, bdi(leftName), " | ", bdi(rightName)), h("div", { class: "compare" }, picture(left, leftName), over, line), range);
  }

  // ---- a sample ---------------------------------------------------------------------------------------------------

  // The score of a wrong answer.
  const wrongOf = (detail, metric) => (detail.better[metric] === "lower" ? 1 : 0);
  function markOf(record, view) {
    const score = view.metric ? record.scores[view.metric] : undefined;
    if (record.failed) return ["!", "failed", "bad"];
    if (!view.detail.binary.includes(view.metric) || typeof score !== "number") return ["", "", ""];
    return score === wrongOf(view.detail, view.metric) ? ["✗", "wrong", "bad"] : ["✓", "right", "good"];
  }
  const nameOf = (record) => `${record.id}${record.g === null || record.g === undefined ? "" : ` (answer ${record.g + 1})`}`;
  const placeOf = (record) => `${record.i}${record.g ? `.${record.g}` : ""}`;

  function row(record, view) {
    const [sign, word, css] = markOf(record, view), score = record.scores[view.metric];
    const cell = (label, part) => h("span", { "data-label": label }, part);
    const button = h("button", { type: "button", "aria-expanded": "false" },
      h("span", { class: `mark ${css}` }, h("span", { "aria-hidden": "true" }, sign), h("span", { class: "vh" }, word)),
      h("span", null, bdi(nameOf(record))),
      cell("input", preview((record.inputs.find((input) => input.part.kind === "messages") || record.inputs[0] || {}).part)),
      cell("reference", preview(record.reference)),
      cell("prediction", record.failed ? bdi(brief({ kind: "text", text: record.error || "failed" })) : preview(record.prediction)),
      h("span", null, record.failed ? "failed" : number(score)));
    const item = h("li", { class: "sample", "data-place": placeOf(record) }, button);
    item.toggle = (open = !item.classList.contains("open")) => {
      item.classList.toggle("open", open);
      button.setAttribute("aria-expanded", String(open));
      const body = item.querySelector(".body");
      if (body && !open) body.remove();
      if (!body && open) item.append(opened(record, view));
    };
    button.addEventListener("click", () => item.toggle());
    return item;
  }
  function opened(record, view) {
    const chips = Object.entries(record.scores).map(([name, value]) => h("span", null, bdi(name), " ", h("b", null, number(value))));
    for (const [way, sign, css] of [["lost", "▼", "bad"], ["won", "▲", "good"]]) {
      const names = Object.keys(record.flip || {}).filter((name) => record.flip[name] === way);
      if (names.length) chips.push(h("span", { class: css }, `${sign} ${way}: `, bdi(names.join(", ")), view.detail.against ? [" against ", bdi(view.detail.against)] : ""));
    }
    if (typeof record.seconds === "number") chips.push(h("span", null, "took ", h("b", null, duration(record.seconds))));
    chips.push(h("span", null, `sample ${record.i}`), h("a", { href: `#${view.anchor}/${placeOf(record)}` }, "link"));
    const images = imagesOf(record);
    const rest = record.inputs.filter((input) => input.part.kind !== "image");
    return h("div", { class: "body" },
      h("div", { class: "chips" }, chips),
      record.error && h("div", { class: "error-text", dir: "auto" }, record.error),
      rest.map((input) => titled(input.name, shown(input.part))),
      images.length ? imageBlock(record) : null,
      beside(record),
      record.answer !== null && record.answer !== undefined ? titled("answer taken from the prediction", textBox(String(record.answer))) : null,
      record.no_answer ? titled("no answer taken", h("p", { class: "quiet" }, record.no_answer)) : null,
      (record.judge || []).map((said) => titled(`${said.metric === "judge" ? "" : "judge, "}${said.metric}${typeof said.score === "number" ? ` ${number(said.score)}` : ""}`, textBox(said.text || ""))));
  }
  function beside(record) {
    const { reference, prediction } = record;
    const rest = [["reference", reference], ["prediction", prediction]].filter(([name, part]) => part && part.kind !== "image" && (name === "prediction" || part.kind !== "none"));
    if (!rest.length) return null;
    const plain = () => rest.map(([name, part]) => titled(name, shown(part)));
    const box = h("div", { class: rest.length > 1 ? "two" : "" }, plain());
    // Of single words or numbers nothing needs to be marked.
    const alike = rest.length > 1 && isText(reference) && reference.kind === prediction.kind && Math.max(reference.text.length, prediction.text.length) > 24;
    if (!alike || reference.text === prediction.text) return box;
    const diff = wordDiff(reference.text, prediction.text);
    if (!diff) return [box, h("p", { class: "quiet" }, "Too long to compare word by word.")];
    const code = (part) => (part.kind === "json" ? "text code" : "text");
    const words = () => [titled("reference", h("div", { class: code(reference), dir: "auto" }, diff.before)), titled("prediction", h("div", { class: code(prediction), dir: "auto" }, diff.after))];
    let on = false;
    const flip = pick("", () => {
      on = !on;
      flip.setAttribute("aria-pressed", String(on));
      flip.textContent = on ? "Hide differences" : "Mark differences";
      box.replaceChildren(...(on ? words() : plain()));
    });
    flip.click();
    return [box, h("p", { class: "after" }, flip)];
  }

  // ---- samples: which, in which order ------------------------------------------------------------------------------

  const textOf = (part) => (!part ? "" : part.kind === "messages" ? part.messages.map((message) => message.text).join("\n") : part.text || part.name || "");
  const found = new WeakMap();
  function haystack(record) {
    if (!found.has(record)) {
      const parts = [record.id, record.error, record.answer, textOf(record.prediction), textOf(record.reference), ...record.inputs.map((input) => textOf(input.part)), ...(record.judge || []).map((said) => said.text)];
      found.set(record, parts.filter((part) => part !== null && part !== undefined).join("\n").toLowerCase());
    }
    return found.get(record);
  }
  function filtered(samples, detail, { filter, metric, q }) {
    const score = (record) => record.scores[metric], has = (record) => typeof score(record) === "number";
    let chosen = samples;
    if (filter === "wrong") chosen = samples.filter((record) => detail.binary.includes(metric) && score(record) === wrongOf(detail, metric));
    if (filter === "failed") chosen = samples.filter((record) => record.failed);
    if (filter === "flipped") chosen = samples.filter((record) => metric in (record.flip || {}));
    if (filter === "worst" || filter === "best") {
      const up = (detail.better[metric] === "lower") === (filter === "best") ? 1 : -1;
      chosen = samples.filter(has).sort((a, b) => up * (score(a) - score(b)));
    }
    const needle = q.toLowerCase();
    return needle ? chosen.filter((record) => haystack(record).includes(needle)) : chosen;
  }
  // Where the samples stand in the page; a live page asks its server instead.
  const embedded = {
    async detail(anchor) {
      const script = byId(`detail-${anchor}`);
      return script && JSON.parse(script.textContent);
    },
    async samples(query, detail) {
      const chosen = filtered(detail.samples, detail, query), pages = Math.max(1, Math.ceil(chosen.length / PAGE));
      const page = Math.min(Math.max(1, query.page), pages);
      return { total: chosen.length, page, pages, samples: chosen.slice((page - 1) * PAGE, page * PAGE) };
    },
  };

  function samplesSection(view) {
    const { detail } = view;
    const list = h("ol", { class: "samples", id: "samples" }), status = h("span", { class: "quiet grow", role: "status", id: "sample-count" });
    const search = h("input", { type: "search", id: "sample-search", "aria-label": "Search samples", placeholder: "Search samples   /", autocomplete: "off", spellcheck: "false" });
    const metric = h("select", { id: "sample-metric" }, detail.scored.map((name) => h("option", { value: name }, name)));
    const buttons = FILTERS.map((name) => h("button", { type: "button", "data-filter": name, click: () => choose(name) }, name, view.counts ? h("b") : null));
    const back = pick("← Previous", () => turn(-1), { id: "previous-page" }), on = pick("Next →", () => turn(1), { id: "next-page" });
    const pages = h("nav", { class: "pages", "aria-label": "Pages of samples" }, back, h("span", { class: "quiet" }), on);
    const may = (name) => (name === "wrong" ? detail.binary.includes(view.metric) : name === "worst" || name === "best" ? Boolean(view.metric) : name !== "flipped" || Boolean(detail.against));
    let asked = 0;
    async function show() {
      const mine = ++asked;
      for (const button of buttons) {
        const name = button.dataset.filter;
        button.setAttribute("aria-pressed", String(name === view.filter));
        button.disabled = !may(name);
        if (view.counts && !["worst", "best"].includes(name)) button.lastChild.textContent = button.disabled ? "" : filtered(detail.samples, detail, { filter: name, metric: view.metric, q: "" }).length;
      }
      let answer;
      try {
        answer = await report.source.samples({ anchor: view.anchor, filter: view.filter, metric: view.metric, q: view.q, page: view.page }, detail);
      } catch (error) {
        if (mine === asked) status.textContent = `The samples did not come: ${error.message}`;
        return;
      }
      if (mine !== asked) return;
      view.page = answer.page;
      list.replaceChildren(...answer.samples.map((record) => row(record, view)));
      status.textContent = answer.total ? `${plural(answer.total, "sample")}${answer.pages > 1 ? `, page ${answer.page} of ${answer.pages}` : ""}` : "No sample is like that.";
      pages.hidden = answer.pages < 2;
      pages.children[1].textContent = `${answer.page} of ${answer.pages}`;
      back.disabled = answer.page <= 1;
      on.disabled = answer.page >= answer.pages;
      view.pages = answer.pages;
    }
    function choose(name) { view.filter = name; view.page = 1; return show(); }
    async function turn(by) {
      const to = view.page + by;
      if (to < 1 || to > view.pages) return false;
      view.page = to;
      await show();
      list.scrollIntoView({ block: "start" });
      return true;
    }
    view.turn = turn; view.show = show;
    metric.addEventListener("change", () => { view.metric = metric.value; view.page = 1; if (!may(view.filter)) view.filter = "all"; show(); });
    let wait = 0;
    search.addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => { view.q = search.value; view.page = 1; show(); }, 150); });
    return h("section", { class: "samples", "aria-labelledby": "samples-title" },
      h("h2", { id: "samples-title", tabindex: -1 }, "Samples"),
      h("div", { class: "tools" }, h("div", { class: "choice", role: "group", "aria-label": "Which samples" }, buttons),
        detail.scored.length ? h("label", null, "by", metric) : null, search, status),
      detail.note ? h("p", { class: "quiet" }, detail.note) : null,
      h("div", { class: "cols", "aria-hidden": "true" }, ["", "Sample", "Input", "Reference", "Prediction", "Score"].map((name) => h("span", null, name))),
      list, pages);
  }

  // ---- a pair -------------------------------------------------------------------------------------------------------

  function panel(title, ...children) { return h("section", { class: "panel" }, h("h3", { "aria-level": 2 }, title), ...children); }
  function scroll(label, child) { return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, child); }
  function facts(object, show = String) {
    const flat = [];
    const walk = (value, path) => {
      if (value !== null && typeof value === "object" && !Array.isArray(value)) Object.entries(value).forEach(([key, inner]) => walk(inner, path ? `${path}.${key}` : key));
      else flat.push([path, Array.isArray(value) ? value.map((each) => (each !== null && typeof each === "object" ? JSON.stringify(each) : each)).join(", ") : value]);
    };
    walk(object || {}, "");
    return flat.length ? h("table", { class: "plain" }, h("tbody", null, flat.map(([key, value]) => h("tr", null, h("th", { scope: "row" }, bdi(key)), h("td", null, bdi(value === null ? "–" : show(value))))))) : null;
  }
  function gatesPanel(gates, judged) {
    if (!gates.length) return null;
    const open = (gate) => gate.verdict === "INCONCLUSIVE", advice = (gate) => gate.holds && gate.verdict === "FAIL";
    const line = (gate, at) => [h("tr", null, h("td", null, bdi(gate.metric)), h("td", { class: "num" }, exact(gate.value)),
      h("td", { class: "num" }, `${gate.kind} ${exact(gate.limit)}`), h("td", { class: "num" }, typeof gate.value === "number" ? `${gate.holds ? "+" : "−"}${+Math.abs(gate.value - gate.limit).toPrecision(3)}` : "–"),
      h("td", { class: `num ${!gate.holds ? "bad" : advice(gate) ? "" : "good"}` }, advice(gate) ? "✗ advisory" : gate.holds ? "✓ holds" : "✗ breached", open(gate) ? " ?" : "")),
      (judged[at] || []).length ? h("tr", { class: "judged" }, h("td", { colspan: 5 }, judged[at].map((part, i) => [i ? " · " : "", i ? bdi(part) : h("b", null, part)]))) : null];
    return panel("Gates", scroll("Gates", h("table", { class: "plain gates" }, h("thead", null, h("tr", null, ["Metric", "Value", "Gate", "Margin", "Result"].map((name, at) => h("th", { scope: "col", class: at ? "num" : null }, name)))), h("tbody", null, gates.map(line)))));
  }
  function confusionPanel(table) {
    const panelOf = (most) => {
      const labels = table.labels.slice(0, most), rows = table.rows.slice(0, most).map((cells) => cells.slice(0, most));
      const top = Math.max(...rows.flat(), 1e-9);
      const cell = (value, i, j) => {
        const node = h("td", { class: i === j ? "on" : value ? "off" : null }, value ? number(value) : "·");
        node.style.setProperty("--share", `${Math.round(20 + (value / top) * 80)}%`);
        return node;
      };
      return scroll(`${table.metric}: rows are references, columns predictions`, h("table", { class: "confusion" },
        h("thead", null, h("tr", null, h("td"), labels.map((label) => h("th", { scope: "col" }, bdi(label))))),
        h("tbody", null, rows.map((cells, i) => h("tr", null, h("th", { scope: "row" }, bdi(labels[i])), cells.map((value, j) => cell(value, i, j)))))));
    };
    const box = panel([bdi(table.metric), h("span", { class: "quiet" }, "rows: reference, columns: prediction")], panelOf(MOST_LABELS));
    if (table.labels.length > MOST_LABELS) {
      const more = pick(`Show all ${table.labels.length} labels`, () => { box.children[1].replaceWith(panelOf(300)); more.remove(); });
      box.append(h("p", { class: "after" }, more));
    }
    return box;
  }
  function histogramPanel(histogram) {
    if (!histogram || !histogram.counts.length) return null;
    const { edges, counts } = histogram, top = Math.max(...counts, 1), wide = Math.min(96, 480 / counts.length), places = [...new Set([0, counts.length > 5 ? Math.floor(counts.length / 2) : 0, counts.length])];
    const total = counts.reduce((sum, each) => sum + each, 0);
    const drawn = counts.map((each, i) => s("rect", { x: 20 + i * wide + 1, width: Math.max(1, wide - 2), y: 120 - (each / top) * 100, height: (each / top) * 100 },
      s("title", null, `${duration(edges[i])} to ${duration(edges[i + 1])}: ${plural(each, "sample")}`)));
    const at = places.map((i) => s("text", { x: 20 + i * wide, y: 138, class: !i ? "" : i === counts.length ? "end" : "mid" }, duration(edges[i])));
    return panel("Latency", s("svg", { class: "bars axes", viewBox: "0 0 520 146", role: "img", "aria-label": `Latency of ${plural(total, "sample")} from ${duration(edges[0])} to ${duration(edges[edges.length - 1])}` },
      s("text", { x: 20, y: 12 }, `${count(top)} samples`), drawn, s("path", { class: "axis", d: `M20 120H${20 + wide * counts.length}` }), at));
  }
  function historyPanel(history) {
    if (!history || history.length < 2) return null;
    const names = [...new Set(history.flatMap((each) => Object.keys(each.metrics)))].slice(0, 8);
    const line = (name) => {
      const values = history.map((each) => each.metrics[name]).map((each) => (each !== null && typeof each === "object" ? each.value : each)).filter((each) => typeof each === "number");
      if (values.length < 2) return null;
      const low = Math.min(...values), span = Math.max(...values) - low, x = (i) => 3 + (i * 194) / (values.length - 1), y = (value) => (span ? 27 - ((value - low) / span) * 24 : 15);
      return h("tr", null, h("th", { scope: "row" }, bdi(name)), h("td", { class: "num" }, exact(values[0])),
        h("td", null, s("svg", { class: "spark", viewBox: "0 0 200 30", role: "img", "aria-label": `${values.length} results, lowest ${number(low)}, highest ${number(low + span)}` }, s("polyline", { points: values.map((value, i) => `${x(i)},${y(value)}`).join(" ") }), s("circle", { cx: x(values.length - 1), cy: y(values[values.length - 1]), r: 3 }))),
        h("td", { class: "num" }, exact(values[values.length - 1])));
    };
    return panel(`History of ${plural(history.length, "result")}`, h("table", { class: "plain history" }, h("tbody", null, names.map(line))), h("p", { class: "quiet" }, moment(history[0].time), " to ", moment(history[history.length - 1].time)));
  }
  function pairView(view) {
    const { detail } = view, links = [...document.querySelectorAll("#pairs .pairs a")], at = links.findIndex((link) => link.getAttribute("href") === `#${view.anchor}`);
    const step = (by, words) => (links[at + by] && at >= 0 ? h("a", { href: links[at + by].getAttribute("href") }, words) : null);
    const numbers = { ...detail.counts, ...(detail.seconds ? { seconds: Object.fromEntries(Object.entries(detail.seconds).map(([key, value]) => [key, typeof value === "number" ? duration(value) : value])) } : {}), ...(detail.usage ? { usage: detail.usage } : {}), ...(detail.statuses ? { statuses: detail.statuses } : {}) };
    const shownFact = (value) => (typeof value === "number" ? number(value) : String(value)), many = detail.total || (detail.samples || []).length;
    const panels = [gatesPanel(detail.gates || [], detail.judged || []),
      detail.changes && detail.changes.length ? panel("Changed since the last result", h("ul", { class: "changes" }, detail.changes.map((change) => h("li", { dir: "auto" }, change)))) : null,
      ...(detail.tables || []).map(confusionPanel), histogramPanel(detail.histogram), historyPanel(detail.history)].filter(Boolean);
    const folds = [["Numbers", facts(numbers, shownFact)], ["Environment", facts(detail.environment, shownFact)],
      ["Files", detail.files && detail.files.length ? h("ul", null, detail.files.map((file) => h("li", null, safe(file.href) ? h("a", { href: file.href, rel: "noreferrer" }, bdi(file.name)) : bdi(file.name)))) : null]];
    const title = h("h2", { class: "title", "aria-level": 1, tabindex: -1 }, bdi(detail.id), tag(detail.status));
    return [h("header", null, h("div", { class: "path" }, h("a", { href: "#pairs", id: "close-pair" }, "← All pairs"), many ? h("button", { type: "button", class: "link", click: () => byId("samples-title").focus() }, detail.samples ? plural(many, "sample") : "Samples", " ↓") : null, h("span", { class: "grow" }), step(-1, "Previous pair"), step(1, "Next pair")), title,
      detail.error ? h("div", { class: "error-text", dir: "auto" }, detail.error) : null,
      detail.skipped ? h("p", { class: "note" }, "Skipped: ", bdi(detail.skipped)) : null),
      h("div", { class: "panels" }, panels),
      h("div", { class: "folded" }, folds.map(([name, child]) => child && h("details", null, h("summary", null, name), child))),
      many ? samplesSection(view) : h("p", { class: "empty" }, "There are no samples.")];
  }

  // ---- which page is shown: the overview, or a pair ------------------------------------------------------------------

  let view = null, scrolled = 0;
  async function route() {
    const [anchor, place] = location.hash.slice(1).split("/");
    const known = anchor && !byId(anchor) && document.querySelector(`#overview a[href="#${CSS.escape(anchor)}"]`);
    if (!known && !(anchor && byId(`detail-${anchor}`))) return leave(anchor);
    if (!view || view.anchor !== anchor) {
      const detail = await report.source.detail(anchor).catch(() => null);
      if (!detail) return leave("");
      if (!view) scrolled = window.scrollY;
      enter({ anchor, detail, filter: "all", metric: detail.scored[0], q: "", page: 1, pages: 1, counts: Boolean(detail.samples) });
      if (view.show) await view.show();
      report.opened(view, byId("pair"));
      byId("pair").querySelector("h2").focus();
      window.scrollTo(0, 0);
    }
    if (place) reach(place);
  }
  function enter(next) {
    view = next;
    byId("pair").replaceChildren(...pairView(view).filter(Boolean));
    byId("pair").hidden = false;
    byId("overview").hidden = true;
  }
  function leave(anchor) {
    if (!view) return;
    const last = view.anchor;
    view = null;
    report.closed();
    byId("pair").hidden = true;
    byId("pair").replaceChildren();
    byId("overview").hidden = false;
    const link = document.querySelector(`#pairs a[href="#${CSS.escape(last)}"]`);
    if (link && (!anchor || anchor === "pairs")) link.focus({ preventScroll: true });
    window.scrollTo(0, scrolled);
  }
  // What is told of the pair is another thing by now: its page is made anew, the place in the overview stays.
  function reopen() {
    if (!view) return;
    const before = scrolled;
    view = null;
    report.closed();
    return route().then(() => { scrolled = before; });
  }
  async function reach(place) {
    const find = () => byId("samples") && byId("samples").querySelector(`[data-place="${CSS.escape(place)}"]`);
    while (!find() && view.turn && await view.turn(1));
    const item = find();
    if (item) { item.toggle(true); item.firstChild.focus(); item.scrollIntoView({ block: "start" }); }
  }

  // ---- keys ----------------------------------------------------------------------------------------------------------

  async function stepSample(by) {
    const items = [...byId("samples").children], now = items.findIndex((item) => item.contains(document.activeElement));
    const from = now >= 0 ? now : items.findIndex((item) => item.classList.contains("open"));
    let next = items[from < 0 ? (by > 0 ? 0 : -1) : from + by];
    if (!next && (await view.turn(by))) next = by > 0 ? byId("samples").firstChild : byId("samples").lastChild;
    if (!next) return;
    if (from >= 0) items[from].toggle(false);
    next.toggle(true);
    next.firstChild.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
    if (next.getBoundingClientRect().bottom > innerHeight) next.scrollIntoView({ block: "start" });
  }
  function stepPair(by) {
    const links = [...document.querySelectorAll("#pairs li:not([hidden]) > a")], at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? 0 : at + by];
    if (next) next.focus();
  }
  function escape(target) {
    if (byId("help").open) return;
    if (target.matches("input, select")) { target.blur(); return; }
    if (!view) return;
    const open = [...byId("pair").querySelectorAll(".sample.open")];
    if (open.length) open.forEach((item) => item.toggle(false));
    else location.hash = "pairs";
  }
  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const { target } = event;
    if (event.key === "Escape") return escape(target);
    if (target.matches("input:not([type=range]), select, textarea") || byId("help").open) return;
    const search = byId(view ? "sample-search" : "pair-search");
    const samples = view && view.turn;
    const acts = {
      j: () => (samples ? stepSample(1) : stepPair(1)), k: () => (samples ? stepSample(-1) : stepPair(-1)),
      n: () => samples && view.turn(1), p: () => samples && view.turn(-1),
      "/": () => search && search.focus(), "?": () => byId("help").showModal(),
    };
    if (!Object.hasOwn(acts, event.key)) return;
    event.preventDefault();
    acts[event.key]();
  }

  // ---- the list of pairs -----------------------------------------------------------------------------------------------

  let pairNeedle = "", pairStatus = "";
  function filterPairs() {
    if (!byId("pair-tools")) return;
    byId("pair-tools").hidden = false;
    const items = [...document.querySelectorAll("#pairs .pairs > li")];
    let left = 0;
    for (const item of items) {
      const hidden = Boolean(pairStatus && item.dataset.status !== pairStatus) || !item.querySelector("bdi").textContent.toLowerCase().includes(pairNeedle);
      if (item.hidden !== hidden) item.hidden = hidden;
      left += !hidden;
    }
    byId("pair-search").value = byId("pair-search").value || pairNeedle;
    byId("pair-count").textContent = left === items.length ? "" : `${left} of ${plural(items.length, "pair")}`;
    for (const button of document.querySelectorAll("#pair-tools [data-status]")) button.setAttribute("aria-pressed", String(button.dataset.status === pairStatus));
  }
  function start() {
    document.addEventListener("keydown", key);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.dataset.do === "help") byId("help").showModal();
      if (button.dataset.status !== undefined) { pairStatus = button.dataset.status; filterPairs(); }
    });
    document.addEventListener("input", (event) => { if (event.target.id === "pair-search") { pairNeedle = event.target.value.toLowerCase(); filterPairs(); } });
    window.addEventListener("hashchange", route);
    filterPairs();
    route();
  }
  document.addEventListener("DOMContentLoaded", start);
  return { config, source: embedded, opened() {}, closed() {}, reopen, filterPairs, h, s, bdi, byId, number, duration, plural, tag, get view() { return view; } };
})();
