"use strict";
// The picture: lanes, what passes between them, and what happens in them. Only what is in view is drawn.

const canvas = document.getElementById("canvas");
const pen = canvas.getContext("2d");
const AXIS = 30, FOOT = 8, MOST_SHAPES = 1500;
const size = {width: 0, height: 0, gutter: 100, lane: 60, ratio: 0};
let colours = {};

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["bg", "panel", "ink", "muted", "line", "lane", "accent", "accent-ink", "away", "decision", "htlc", "onion", "custom", "push",
    "block", "fault", "phone", "connection", "component", "settled", "failed", "held", "flight", "selected"];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

function layout() {
  const width = Math.max(200, canvas.clientWidth), ratio = Math.min(window.devicePixelRatio || 1, 2);
  size.gutter = width < 560 ? 66 : 104;
  size.lane = width < 560 ? 50 : 62;
  const height = AXIS + size.lane * Math.max(1, shown.lanes.length) + FOOT;
  if (width === size.width && height === size.height && ratio === size.ratio) return;
  Object.assign(size, {width, height, ratio});
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
}

function xOf(at) { return size.gutter + (at - state.from) / (state.to - state.from) * (size.width - size.gutter); }
function atOf(x) { return state.from + (x - size.gutter) / (size.width - size.gutter) * (state.to - state.from); }
function yOf(name) { const row = shown.laneOf.get(name); return row === undefined ? -1 : AXIS + size.lane * (row + 0.5); }

let planned = 0;
function draw() { if (!planned) planned = requestAnimationFrame(() => { planned = 0; paint(); }); }

function paint() {
  layout();
  pen.setTransform(size.ratio, 0, 0, size.ratio, 0, 0);
  pen.fillStyle = colours.panel;
  pen.fillRect(0, 0, size.width, size.height);
  const first = Math.max(0, firstFrom(shown.at, state.from) - 1);
  const last = Math.min(shown.at.length, firstFrom(shown.at, state.to) + 1);
  drawAway();
  drawAxis(first, last);
  drawLanes();
  if (last - first > MOST_SHAPES) {
    drawDensity(first, last);
  } else {
    drawHtlcs();
    drawEvents(first, last);
  }
  drawNames();
}

function drawAway() {
  for (const lane of shown.lanes) {
    const top = yOf(lane.name) - size.lane / 2 + 3, height = size.lane - 6;
    for (const span of lane.away || []) {
      const left = Math.max(xOf(placeOf(span.begin)), size.gutter);
      const right = span.end === undefined ? size.width : Math.min(xOf(placeOf(span.end)), size.width);
      if (right <= left) continue;
      pen.fillStyle = colours.away;
      pen.fillRect(left, top, right - left, height);
      if (right - left < 9) continue;
      pen.save();
      pen.beginPath();
      pen.rect(left, top, right - left, height);
      pen.clip();
      pen.strokeStyle = colours.line;
      pen.lineWidth = 1;
      pen.beginPath();
      for (let x = left - height - (left % 9); x < right; x += 9) { pen.moveTo(x, top + height); pen.lineTo(x + height, top); }
      pen.stroke();
      pen.restore();
      if (right - left > 90) text(span.why || "away", left + 6, top + height - 7, colours.muted, "11px", right - left - 10);
    }
  }
}

function text(words, x, y, colour, font, room, align) {
  pen.font = `${font} system-ui, "DejaVu Sans", sans-serif`;
  pen.fillStyle = colour;
  pen.textAlign = align || "left";
  let said = String(words);
  if (room !== undefined) while (said.length > 3 && pen.measureText(said).width > room) said = said.slice(0, Math.max(2, Math.floor(said.length * 0.9) - 1)) + "…";
  pen.fillText(said, x, y);
  return pen.measureText(said).width;
}

function drawAxis(first, last) {
  pen.lineWidth = 1;
  const began = shown.times.length ? (byHash.get(state.payment) || {first: shown.times[0]}).first : 0;
  const tick = (x, words) => {
    pen.strokeStyle = colours.line;
    pen.beginPath();
    pen.moveTo(x, AXIS - 6);
    pen.lineTo(x, size.height - FOOT);
    pen.stroke();
    text(words, x, AXIS - 12, colours.muted, "11px", undefined, "center");
  };
  if (state.scale === "time") {
    const per = (state.to - state.from) / Math.max(2, (size.width - size.gutter) / 110);
    const power = 10 ** Math.floor(Math.log10(per));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= per);
    const shift = shown.times.length ? began - shown.times[0] : 0;
    for (let at = Math.ceil((state.from - shift) / step) * step; at <= state.to - shift; at += step) {
      const x = xOf(at + shift);
      if (x > size.gutter + 10) tick(x, `${at < 0 ? "−" : "+"}${duration(Math.abs(at))}`);
    }
    return;
  }
  const taken = drawIdle(first, last);
  let free = size.gutter + 26;
  for (let number = first; number < last; number++) {
    const x = xOf(shown.at[number]);
    while (taken.length && taken[0] + 46 < x - 30) taken.shift();
    if (x < free || x > size.width - 24 || (taken.length && Math.abs(taken[0] - x) < 76)) continue;
    const since = shown.times[number] - began;
    tick(x, `${since < 0 ? "−" : "+"}${duration(Math.abs(since))}`);
    free = x + 86;
  }
}

// Marks where time was left out; the middles of these marks.
function drawIdle(first, last) {
  const middles = [];
  if (last - first > MOST_SHAPES) return middles;
  for (let number = Math.max(1, first); number < last; number++) {
    const gap = shown.times[number] - shown.times[number - 1];
    if (gap <= IDLE_SECONDS) continue;
    const left = Math.max(xOf(shown.at[number - 1]), size.gutter), right = Math.min(xOf(shown.at[number]), size.width), middle = (left + right) / 2;
    if (right - left < 30 || (middles.length && middle - middles[middles.length - 1] < 80) || middle < size.gutter + 34) continue;
    pen.setLineDash([2, 4]);
    pen.strokeStyle = colours.muted;
    pen.beginPath();
    pen.moveTo(middle, AXIS - 4);
    pen.lineTo(middle, size.height - FOOT);
    pen.stroke();
    pen.setLineDash([]);
    text(`${duration(gap)} later`, middle, AXIS - 12, colours.ink, "italic 11px", undefined, "center");
    middles.push(middle);
  }
  return middles;
}

function drawLanes() {
  pen.strokeStyle = colours.lane;
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (const lane of shown.lanes) { const y = yOf(lane.name); pen.moveTo(size.gutter, y); pen.lineTo(size.width, y); }
  pen.stroke();
}

function drawNames() {
  pen.fillStyle = colours.panel;
  pen.fillRect(0, 0, size.gutter, size.height);
  pen.strokeStyle = colours.line;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(size.gutter - 0.5, 0);
  pen.lineTo(size.gutter - 0.5, size.height);
  pen.stroke();
  for (const lane of shown.lanes) {
    const y = yOf(lane.name), service = lane.kind === "service" || lane.kind === "unknown";
    const narrow = size.gutter < 100, left = narrow ? 6 : 12, room = size.gutter - left - 5;
    text(lane.name, left, y + (service ? 4 : 0), colours.ink, narrow ? "bold 12px" : service ? "13px" : "bold 14px", room);
    if (!service) text(narrow ? lane.runs || lane.kind : [lane.kind, lane.runs].filter(Boolean).join(", "), left, y + 15, colours.muted, "11px", room);
  }
}

function drawDensity(first, last) {
  const columns = Math.ceil(size.width - size.gutter), names = Object.keys(KINDS), rows = shown.lanes.length;
  const counts = new Uint32Array(columns * rows), kinds = new Uint8Array(columns * rows).fill(names.length);
  const scale = columns / (state.to - state.from), fault = names.indexOf("fault"), component = names.indexOf("component");
  let most = 1;
  for (let number = first; number < last; number++) {
    const column = Math.floor((shown.at[number] - state.from) * scale);
    if (column < 0 || column >= columns) continue;
    const cell = shown.rows[number] * columns + column, kind = shown.kinds[number];
    if (++counts[cell] > most) most = counts[cell];
    if (kind === fault || kinds[cell] === names.length || kinds[cell] === component) kinds[cell] = kind;
  }
  names.forEach((name, kind) => {
    pen.fillStyle = colours[colourName(name)];
    for (let cell = kinds.indexOf(kind); cell >= 0; cell = kinds.indexOf(kind, cell + 1)) {
      const row = Math.floor(cell / columns), height = 4 + (size.lane - 14) * Math.log1p(counts[cell]) / Math.log1p(most);
      pen.fillRect(size.gutter + cell - row * columns, AXIS + size.lane * (row + 0.5) - height / 2, 1, height);
    }
  });
  const said = `${(last - first).toLocaleString("en")} events in view: zoom in to see each`;
  pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
  const width = pen.measureText(said).width + 16;
  pen.fillStyle = colours.panel;
  pen.fillRect(size.width - width - 6, 2, width + 6, AXIS - 6);
  text(said, size.width - 10, AXIS - 12, colours.ink, "12px", undefined, "right");
}

// Each HTLC lies between the lanes of its ends, from its offer to its end; darker while it is held.
function drawHtlcs() {
  for (const htlc of htlcs) {
    if (state.payment && htlc.payment_hash !== state.payment) continue;
    const begin = htlc.offered ?? htlc.ended;
    if (begin === undefined || !state.kinds.has("htlc")) continue;
    const left = Math.max(xOf(placeOf(begin)), size.gutter - 20);
    const right = htlc.ended === undefined ? size.width : Math.min(xOf(placeOf(htlc.ended)), size.width + 20);
    const from = yOf(htlc.from_lane), to = yOf(htlc.to);
    if (right < size.gutter || left > size.width || from < 0 || to < 0) continue;
    const near = Math.abs(from - to) <= size.lane + 1, height = 13;
    const y = near ? (from + to) / 2 - height / 2 : to + (from < to ? -size.lane / 2 : size.lane / 2 - height);
    const colour = htlc.end === "settled" ? colours.settled : htlc.end ? colours.failed : colours.flight;
    pen.globalAlpha = 0.45;
    pen.fillStyle = colour;
    bar(left, y, Math.max(3, right - left), height);
    if (htlc.held !== undefined) {
      const held = Math.max(xOf(placeOf(htlc.held)), size.gutter - 20), until = htlc.resolved ?? htlc.ended;
      const released = until === undefined ? size.width : Math.min(xOf(placeOf(until)), size.width + 20);
      pen.globalAlpha = 0.85;
      pen.fillStyle = colours.held;
      if (released >= held) bar(held, y, Math.max(3, released - held), height);
    }
    pen.globalAlpha = 1;
    const held = htlc.held !== undefined, start = Math.max(held ? xOf(placeOf(htlc.held)) : left, size.gutter), room = right - start - 12;
    if (room > 70) text(`${sat(htlc.amount_msat)} sat${held ? " held" : ""}`, start + 6, y + 10.5, held ? "#1c2430" : colours.ink, "11px", room);
  }
}

function bar(x, y, width, height) { pen.beginPath(); pen.roundRect(x, y, width, height, 4); pen.fill(); }

function drawEvents(first, last) {
  const ends = new Map();
  for (let number = first; number < last; number++) {
    const event = events[shown.indices[number]], x = xOf(shown.at[number]);
    const colour = colours[colourName(event.kind)];
    const index = shown.indices[number];
    const bold = index === state.selected || index === state.hovered;
    if (event.kind === "block") { drawBlock(event, x, ends); continue; }
    const y = yOf(event.lane);
    if (event.to) arrow(event, x, y, yOf(event.to), colour, bold, ends);
    else glyph(KINDS[event.kind], x, y, event.step ? 0 : bold ? 7 : 5, colour);
    if (event.step) step(event.step, x, y);
    if (bold) { pen.strokeStyle = colours.accent; pen.lineWidth = 2; pen.beginPath(); pen.arc(x, y, 13, 0, 7); pen.stroke(); }
    if (!event.to && (event.kind === "decision" || event.kind === "fault" || event.kind === "phone" || event.kind === "on chain")) label(event.what, x, y - (event.step ? 15 : 10), event.lane, colour, ends);
  }
}

// A label only where none is yet.
function label(words, x, y, row, colour, ends) {
  if (x < size.gutter || (ends.get(row) || 0) > x) return;
  const edge = x > size.width - 90;
  if (edge && (ends.get(row) || 0) > x - 70) return;
  const width = text(words, edge ? x + 4 : x - 2, y, colour, "11px", 130, edge ? "right" : "left");
  ends.set(row, edge ? x + 8 : x + width + 8);
}

function drawBlock(event, x, ends) {
  pen.strokeStyle = colours.block;
  pen.lineWidth = 1;
  pen.setLineDash([1, 3]);
  pen.beginPath();
  pen.moveTo(x, AXIS);
  pen.lineTo(x, size.height - FOOT);
  pen.stroke();
  pen.setLineDash([]);
  const y = yOf(event.lane);
  glyph("bar", x, y, 6, colours.block);
  label(event.text || event.what, x + 8, y - 8, event.lane, colours.block, ends);
}

function arrow(event, x, y, to, colour, bold, ends) {
  const end = event.arrived === undefined ? x : Math.max(x, xOf(placeOf(event.arrived)));
  const style = KINDS[event.kind], down = to > y ? 1 : -1;
  pen.strokeStyle = colour;
  pen.lineWidth = bold ? 3 : style === "arrow" ? 2 : 1.4;
  pen.setLineDash(style === "dashed" ? [6, 3] : style === "arrow" ? [] : [2, 3]);
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(end, to - 5 * down);
  pen.stroke();
  pen.setLineDash([]);
  pen.fillStyle = colour;
  pen.beginPath();
  pen.moveTo(end, to);
  pen.lineTo(end - 4, to - 8 * down);
  pen.lineTo(end + 4, to - 8 * down);
  pen.fill();
  if (event.kind === "htlc" && roomy()) label(event.what.replace("update_", ""), x + 7, (y + to) / 2 + 16, `${event.lane}${event.to}`, colour, ends);
}

// Whether events are so far apart that arrows have room for their names.
function roomy() {
  return shown.indices.length < 2 || (size.width - size.gutter) / (state.to - state.from) * shown.length / shown.indices.length > 30;
}

function step(number, x, y) {
  pen.fillStyle = colours.accent;
  pen.beginPath();
  pen.arc(x, y, 10, 0, 7);
  pen.fill();
  text(number, x, y + 4, colours["accent-ink"], "bold 12px", undefined, "center");
}

const SHAPES = {
  circle: (x, y, r) => pen.arc(x, y, r, 0, 7),
  dot: (x, y, r) => pen.arc(x, y, r * 0.6, 0, 7),
  ring: (x, y, r) => pen.arc(x, y, r * 0.8, 0, 7),
  diamond: (x, y, r) => { pen.moveTo(x, y - r * 1.3); pen.lineTo(x + r * 1.3, y); pen.lineTo(x, y + r * 1.3); pen.lineTo(x - r * 1.3, y); pen.closePath(); },
  triangle: (x, y, r) => { pen.moveTo(x, y - r * 1.2); pen.lineTo(x + r * 1.2, y + r); pen.lineTo(x - r * 1.2, y + r); pen.closePath(); },
  bar: (x, y, r) => pen.rect(x - r, y - r, 2 * r, 2 * r),
  cross: (x, y, r) => { pen.moveTo(x - r, y - r); pen.lineTo(x + r, y + r); pen.moveTo(x + r, y - r); pen.lineTo(x - r, y + r); },
};

function glyph(shape, x, y, radius, colour) {
  if (!radius || !SHAPES[shape]) return;
  pen.beginPath();
  SHAPES[shape](x, y, radius);
  if (shape === "cross" || shape === "ring") {
    pen.lineWidth = shape === "cross" ? 3 : 2;
    pen.strokeStyle = colour;
    if (shape === "ring") { pen.fillStyle = colours.panel; pen.fill(); }
    pen.stroke();
  } else {
    pen.fillStyle = colour;
    pen.fill();
  }
}

// The number of the shown event under the pointer; -1 if there is none.
function under(x, y) {
  if (x < size.gutter) return -1;
  const first = firstFrom(shown.at, atOf(x - 14)), last = Math.min(firstFrom(shown.at, atOf(x + 14)), first + MOST_SHAPES);
  let best = -1, least = 14;
  for (let number = first; number < last; number++) {
    const event = events[shown.indices[number]], from = yOf(event.lane), to = event.to ? yOf(event.to) : from;
    const low = Math.min(from, to), high = Math.max(from, to);
    const off = y < low ? low - y : y > high ? y - high : event.kind === "block" || event.to ? 2 : 0;
    const away = Math.hypot(xOf(shown.at[number]) - x, off);
    if (away < least) { least = away; best = number; }
  }
  return best;
}
