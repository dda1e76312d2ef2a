"use strict";
// The story, what of it is shown, and where on the axis each event is. Texts are shown by textContent and fillText alone.

const KINDS = {
  "decision": "circle", "htlc": "arrow", "onion message": "dashed", "custom message": "dotted", "push": "triangle",
  "block": "bar", "on chain": "bar", "fault": "cross", "phone": "diamond", "connection": "ring", "component": "dot",
};
const COLOUR_OF = {"onion message": "onion", "custom message": "custom", "on chain": "block"};
const AROUND_SECONDS = 1.0;
const OF_OTHERS = new Set(["decision", "htlc"]);
const IDLE_SECONDS = 0.8;

let story = {};
let events = [], htlcs = [], payments = [];
let byHash = new Map();

const state = {
  payment: "", kinds: new Set(Object.keys(KINDS)), search: "", scale: "even",
  from: 0, to: 1, selected: -1, hovered: -1,
};
// Of each event that passes the filters: its index, its place, its time, its lane's row, its kind's number in KINDS.
const shown = {indices: [], at: new Float64Array(0), times: new Float64Array(0), rows: new Uint16Array(0), kinds: new Uint8Array(0), lanes: [], laneOf: new Map(), length: 1};
const haystacks = [];

// The story is gzip in base64: a browser needs much longer to read the same as text.
async function readStory() {
  const coded = atob(document.getElementById("story").textContent), bytes = new Uint8Array(coded.length);
  for (let at = 0; at < coded.length; at++) bytes[at] = coded.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

function setStory(told) {
  story = told;
  events = story.events || [];
  htlcs = story.htlcs || [];
  payments = story.payments || [];
  byHash = new Map(payments.map((payment) => [payment.payment_hash, payment]));
  for (const event of events) knowKind(event.kind);
}

// A kind that this page does not know yet is drawn like an event of a component.
function knowKind(kind) {
  if (KINDS[kind]) return;
  KINDS[kind] = "dot";
  COLOUR_OF[kind] = "component";
  state.kinds.add(kind);
}

function colourName(kind) { return COLOUR_OF[kind] || kind; }

function clock(seconds) {
  const date = new Date(Math.round(seconds * 1000));
  const two = (number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function day(seconds) {
  const date = new Date(seconds * 1000), two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

function duration(seconds) {
  const size = Math.abs(seconds);
  if (size < 1) return `${Math.round(seconds * 1000)} ms`;
  if (size < 100) return `${seconds.toFixed(size < 10 ? 2 : 1)} s`;
  return size < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

function sat(msat) {
  if (msat === undefined || msat === null) return "?";
  const whole = Math.floor(msat / 1000).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  const rest = msat % 1000;
  return rest ? `${whole}.${String(rest).padStart(3, "0")}` : whole;
}

function sentence(event) {
  const htlc = event.htlc_id !== undefined && !event.to ? `HTLC ${event.channel || "?"}/${event.htlc_id}` : "";
  const first = event.text && event.text.startsWith(event.what) ? "" : event.what;
  return [first, htlc, event.text].filter(Boolean).join(": ");
}

function haystack(index) {
  if (haystacks[index] === undefined) {
    const event = events[index];
    haystacks[index] = [event.lane, event.to, event.kind, event.what, event.text, event.because, event.source, event.channel,
      event.block, ...(event.payment_hashes || [])].filter(Boolean).join(" ").toLowerCase();
  }
  return haystacks[index];
}

function isAbout(event, payment) {
  const hashes = event.payment_hashes;
  if (hashes && hashes.length) return hashes.includes(payment.payment_hash);
  if (OF_OTHERS.has(event.kind)) return false;
  return event.time >= payment.first - AROUND_SECONDS && event.time <= payment.last + AROUND_SECONDS;
}

// What is shown, and in which order of lanes. Called when a filter changes.
function filter() {
  const payment = byHash.get(state.payment);
  const words = state.search.toLowerCase().split(/\s+/).filter(Boolean);
  const indices = [];
  const used = new Set();
  for (let index = 0; index < events.length; index++) {
    const event = events[index];
    if (!state.kinds.has(event.kind) || (payment && !isAbout(event, payment))) continue;
    if (words.length && !words.every((word) => haystack(index).includes(word))) continue;
    indices.push(index);
    used.add(event.lane);
    if (event.to) used.add(event.to);
  }
  shown.indices = indices;
  shown.lanes = (story.lanes || []).filter((lane) => lane.kind !== "service" || used.has(lane.name));
  const known = new Set(shown.lanes.map((lane) => lane.name));
  for (const name of used) if (!known.has(name)) shown.lanes.push({name, kind: "unknown"});
  shown.laneOf = new Map(shown.lanes.map((lane, row) => [lane.name, row]));
  const kindOf = new Map(Object.keys(KINDS).map((kind, number) => [kind, number]));
  shown.rows = new Uint16Array(indices.length);
  shown.kinds = new Uint8Array(indices.length);
  for (let number = 0; number < indices.length; number++) {
    const event = events[indices[number]];
    shown.rows[number] = shown.laneOf.get(event.lane);
    shown.kinds[number] = kindOf.get(event.kind);
  }
  place();
}

// Where each event is: by its time, or by its number with idle times shortened.
function place() {
  const count = shown.indices.length;
  shown.at = new Float64Array(count);
  shown.times = new Float64Array(count);
  const began = count ? events[shown.indices[0]].time : 0;
  let at = 0;
  for (let number = 0; number < count; number++) {
    const time = events[shown.indices[number]].time;
    shown.times[number] = time;
    if (state.scale === "time") {
      shown.at[number] = time - began;
    } else {
      const gap = number ? time - shown.times[number - 1] : 0;
      at += number ? 1 + (gap > IDLE_SECONDS ? Math.min(9, 3 + Math.log2(gap / IDLE_SECONDS)) : gap) : 0;
      shown.at[number] = at;
    }
  }
  shown.length = Math.max(count ? shown.at[count - 1] : 0, state.scale === "time" ? 0.05 : 4);
}

// The number of the first shown event at or after a place, in an array that ascends.
function firstFrom(array, value) {
  let low = 0, high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] < value) low = middle + 1; else high = middle;
  }
  return low;
}

// Where a time is that need not be that of an event shown.
function placeOf(time) {
  const count = shown.times.length;
  if (!count) return 0;
  if (state.scale === "time") return time - shown.times[0];
  const next = firstFrom(shown.times, time);
  if (next === 0) return shown.at[0] - Math.min(1, shown.times[0] - time);
  if (next === count) return shown.at[count - 1] + Math.min(1, time - shown.times[count - 1]);
  const before = next - 1, gap = shown.times[next] - shown.times[before];
  return shown.at[before] + (gap > 0 ? (time - shown.times[before]) / gap : 0) * (shown.at[next] - shown.at[before]);
}

function fit() {
  const margin = shown.length * 0.02 + (state.scale === "time" ? 0.01 : 0.6);
  state.from = -margin;
  state.to = shown.length + margin;
}

function zoom(factor, around) {
  const least = state.scale === "time" ? 0.002 : 3;
  const width = Math.min(Math.max((state.to - state.from) * factor, least), shown.length * 1.3 + least);
  const part = (around - state.from) / (state.to - state.from);
  state.from = around - part * width;
  state.to = state.from + width;
  bound();
}

function pan(by) {
  state.from += by;
  state.to += by;
  bound();
}

function bound() {
  const width = state.to - state.from, edge = width * 0.1;
  if (state.from < -edge) state.from = -edge;
  if (state.from > shown.length - width + edge) state.from = Math.max(-edge, shown.length - width + edge);
  state.to = state.from + width;
}

function show(number) {
  const at = shown.at[number], width = state.to - state.from;
  if (at < state.from + width * 0.08 || at > state.to - width * 0.08) {
    state.from = at - width / 2;
    state.to = state.from + width;
    bound();
  }
}
