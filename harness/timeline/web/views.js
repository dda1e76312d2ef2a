"use strict";
// Everything but the picture: steps, kinds, the list of events, details, HTLCs.

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(name, classes, words) {
  const made = document.createElement(name);
  if (classes) made.className = classes;
  if (words !== undefined) made.textContent = words;
  return made;
}

// The shape of a kind, so that colour is not all that tells it apart.
function icon(kind) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 14 14");
  svg.setAttribute("aria-hidden", "true");
  const drawn = {
    circle: ["circle", {cx: 7, cy: 7, r: 5}], dot: ["circle", {cx: 7, cy: 7, r: 3}], ring: ["circle", {cx: 7, cy: 7, r: 4.5}, true],
    diamond: ["path", {d: "M7 1l6 6-6 6-6-6z"}], triangle: ["path", {d: "M7 1.5l6 11H1z"}], bar: ["rect", {x: 2, y: 2, width: 10, height: 10}],
    cross: ["path", {d: "M2 2l10 10M12 2L2 12"}, true], arrow: ["path", {d: "M0 7h12M8 3l4 4-4 4"}, true],
    dashed: ["path", {d: "M0 7h4M6 7h6M9 4l3 3-3 3"}, true], dotted: ["path", {d: "M0 7h1M4 7h1M8 7h4M9 4l3 3-3 3"}, true],
  }[KINDS[kind] || "dot"];
  const shape = document.createElementNS(SVG, drawn[0]);
  for (const [name, value] of Object.entries(drawn[1])) shape.setAttribute(name, value);
  const colour = `var(--${colourName(kind)})`;
  shape.style.fill = drawn[2] ? "none" : colour;
  if (drawn[2]) { shape.style.stroke = colour; shape.style.strokeWidth = "2"; }
  svg.append(shape);
  return svg;
}

function fillHead() {
  const name = `Timeline of ${story.testbed}`;
  document.title = name;
  byId("title").textContent = name;
  const many = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
  byId("facts").textContent = [
    story.topology ? `topology ${story.topology}` : "", events.length ? `${day(events[0].time)} ${clock(events[0].time).slice(0, 8)} to ${clock(events[events.length - 1].time).slice(0, 8)}` : "", many(events.length, "event"), many(payments.length, "payment"),
    many(htlcs.length, "HTLC"),
  ].filter(Boolean).join(" · ");
  const problems = story.problems || [];
  if (!problems.length) return;
  const box = byId("problems"), list = element("ul");
  box.hidden = false;
  box.append(element("strong", "", "This story is incomplete:"), list);
  for (const problem of problems.slice(0, 20)) list.append(element("li", "", problem));
}

function fillPayments() {
  const select = byId("payment");
  select.replaceChildren(new Option("all of the run", ""));
  for (const payment of payments.slice(-500)) {
    const amount = payment.amount_msat === undefined ? "" : ` · ${sat(payment.amount_msat)} sat`;
    select.append(new Option(`${payment.payment_hash.slice(0, 8)}…${amount} · ${clock(payment.first)}`, payment.payment_hash));
  }
  select.value = state.payment;
}

const SENTENCES = ["generates the pid, a random secret", "accepts to hold the payment", "holds every part", "hands over", "gets payment_pending",
  "sends payment_release", "releases the payment", "has the preimage"];

function fillSteps(go) {
  const list = byId("steps"), payment = byHash.get(state.payment);
  list.replaceChildren();
  list.hidden = !payment;
  if (!payment) return;
  for (let number = 1; number <= 8; number++) {
    const reached = (payment.steps || []).find((step) => step.number === number);
    const item = element("li"), button = element("button"), head = element("span", "head");
    button.type = "button";
    button.disabled = !reached;
    head.append(element("span", "number", number), element("span", "", reached ? reached.lane : "not reached"));
    if (reached) head.append(element("span", "when", `+${duration(reached.time - payment.first)}`));
    button.append(head, element("span", "what", reached ? reached.sentence : SENTENCES[number - 1]));
    if (reached) button.addEventListener("click", () => go(number));
    item.append(button);
    list.append(item);
  }
}

const kindLabels = new Map();
function fillKinds(changed) {
  const counts = {};
  for (const event of events) counts[event.kind] = (counts[event.kind] || 0) + 1;
  for (const kind of Object.keys(KINDS)) {
    if (!counts[kind]) continue;
    const words = `${kind} ${counts[kind].toLocaleString("en")}`;
    if (kindLabels.has(kind)) { kindLabels.get(kind).textContent = words; continue; }
    const button = element("button", "button");
    button.type = "button";
    button.setAttribute("aria-pressed", "true");
    const label = element("span", "", words);
    kindLabels.set(kind, label);
    button.append(icon(kind), label);
    button.addEventListener("click", () => {
      const on = !state.kinds.has(kind);
      if (on) state.kinds.add(kind); else state.kinds.delete(kind);
      button.setAttribute("aria-pressed", String(on));
      changed();
    });
    const later = Object.keys(KINDS).slice(Object.keys(KINDS).indexOf(kind) + 1).find((each) => kindLabels.has(each));
    byId("kinds").insertBefore(button, later ? kindLabels.get(later).parentElement : null);
  }
}

function fillLegend() {
  for (const [name, words] of [["held", "HTLC held"], ["settled", "settled"], ["failed", "failed or on chain"], ["flight", "in flight"]]) {
    const entry = element("span"), colour = element("i");
    colour.style.background = `var(--${name})`;
    entry.append(colour, element("span", "", words));
    byId("legend").append(entry);
  }
  const entry = element("span"), colour = element("i");
  colour.style.background = "repeating-linear-gradient(135deg, var(--away) 0 3px, var(--lane) 3px 4px)";
  entry.append(colour, element("span", "", "phone away"));
  byId("legend").append(entry, element("span", "", "drag to move, Ctrl and wheel to zoom"));
}

// The list: only the rows in sight exist.
let rowHeight = 30;
function fillRows(choose) {
  const rows = byId("rows"), spacer = byId("spacer");
  rowHeight = window.matchMedia("(max-width: 640px)").matches ? 48 : 30;
  spacer.style.height = `${shown.indices.length * rowHeight}px`;
  byId("list-title").textContent = shown.indices.length === events.length ? `${events.length.toLocaleString("en")} events`
    : `${shown.indices.length.toLocaleString("en")} of ${events.length.toLocaleString("en")} events`;
  const first = Math.max(0, Math.floor(rows.scrollTop / rowHeight) - 4);
  const last = Math.min(shown.indices.length, first + Math.ceil(rows.clientHeight / rowHeight) + 8);
  const made = [];
  for (let number = first; number < last; number++) made.push(row(number, choose));
  if (!shown.indices.length) made.push(emptyRow());
  spacer.replaceChildren(...made);
  const current = byId(`event-${state.selected}`);
  if (current) rows.setAttribute("aria-activedescendant", current.id); else rows.removeAttribute("aria-activedescendant");
}

function emptyRow() {
  const made = element("div", "row", "Nothing fits these filters.");
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  return made;
}

function row(number, choose) {
  const index = shown.indices[number], event = events[index], made = element("div", "row");
  made.id = `event-${index}`;
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", String(index === state.selected));
  made.setAttribute("aria-posinset", String(number + 1));
  made.setAttribute("aria-setsize", String(shown.indices.length));
  made.style.top = `${number * rowHeight}px`;
  const kind = element("span", "kind"), what = element("span", "what");
  kind.append(icon(event.kind), element("span", "", event.kind));
  if (event.step) what.append(element("b", "step", event.step));
  what.append(element("span", "", sentence(event)));
  if (event.because) what.append(element("span", "because", ` because: ${event.because}`));
  made.append(element("span", "at mono", clock(event.time)), element("span", "where", event.to ? `${event.lane} → ${event.to}` : event.lane), kind, what);
  made.addEventListener("click", () => choose(number));
  return made;
}

function scrollTo(number) {
  const rows = byId("rows"), top = number * rowHeight;
  if (top < rows.scrollTop + rowHeight || top > rows.scrollTop + rows.clientHeight - 2 * rowHeight) rows.scrollTop = top - rows.clientHeight / 2;
}

function fillDetails() {
  const box = byId("details"), event = events[state.selected];
  box.replaceChildren();
  if (!event) {
    box.append(element("p", "empty", "Choose an event in the picture or in the list."));
    return;
  }
  const list = element("dl"), payment = byHash.get(state.payment);
  const add = (name, value, mono) => {
    if (value === undefined || value === "" || value === null) return;
    list.append(element("dt", "", name), element("dd", mono ? "mono" : "", value));
  };
  add("what", sentence(event));
  add("because", event.because);
  add("step", event.step ? `${event.step} of 8` : undefined);
  add("time", clock(event.time), true);
  if (payment) add("since the start", duration(event.time - payment.first), true);
  add("where", event.to ? `${event.lane} → ${event.to}` : event.lane);
  if (event.to) add("arrived", event.arrived === undefined ? "no log says so" : `after ${duration(event.arrived - event.time)}`);
  add("kind", event.kind);
  add("told by", event.source);
  add("amount", event.amount_msat === undefined ? undefined : `${sat(event.amount_msat)} sat`);
  add("expires at block", event.expiry_blocks);
  add("HTLC", event.htlc_id === undefined ? undefined : `${event.channel || "?"}/${event.htlc_id}`, true);
  for (const hash of (event.payment_hashes || []).slice(0, 8)) add("payment hash", hash, true);
  add("unblock hash", event.block, true);
  add("its own clock", event.clock_offset_seconds === undefined ? undefined : `off by ${duration(event.clock_offset_seconds)}; the engine's time is used`);
  box.append(list);
}

const MOST_HTLCS = 200;
function fillHtlcs() {
  const box = byId("htlcs"), chosen = htlcs.filter((htlc) => !state.payment || htlc.payment_hash === state.payment);
  box.replaceChildren();
  byId("htlcs-title").textContent = chosen.length > MOST_HTLCS ? `The last ${MOST_HTLCS} of ${chosen.length.toLocaleString("en")} HTLCs` : "HTLCs, hop by hop";
  if (!chosen.length) {
    box.append(element("p", "empty", "None was offered."));
    return;
  }
  const table = element("table"), head = element("tr"), body = element("tbody"), top = element("thead");
  for (const name of ["hop", "HTLC", "amount, sat", "expires", "offered", "held", "resolved", "ended"]) {
    const cell = element("th", name === "amount, sat" || name === "expires" ? "number" : "", name);
    cell.scope = "col";
    head.append(cell);
  }
  const when = (time) => time === undefined ? "–" : clock(time);
  for (const htlc of chosen.slice(-MOST_HTLCS)) {
    const line = element("tr");
    line.append(element("td", "", `${htlc.from_lane} → ${htlc.to}`), element("td", "mono", `${htlc.channel || "?"}/${htlc.htlc_id}`),
      element("td", "number", sat(htlc.amount_msat)), element("td", "number", htlc.expiry_blocks ?? "?"), element("td", "", when(htlc.offered)),
      element("td", "", when(htlc.held)), element("td", "", htlc.resolved === undefined ? "–" : `${clock(htlc.resolved)} ${htlc.resolution || ""}`),
      element("td", "", htlc.end ? `${clock(htlc.ended)} ${htlc.end}` : "in flight"));
    body.append(line);
  }
  top.append(head);
  table.append(top, body);
  box.append(table);
}
