"use strict";
// Asks the server again and again, and shows what is new.

const STATUS_SECONDS = 2, HIDDEN_SECONDS = 15, DOWN_SECONDS = 3, WAIT_SECONDS = 20, MOST_EVENTS = 20000, MANY_EVENTS = 1000, MOST_PAYMENTS = 2000, VIEW_EVENTS = 40;

// Why a request was not carried out. status: 0 if the server does not answer.
class Refused extends Error { constructor(status, why) { super(why); this.status = status; } }

const NO_SERVER = "The server of this page does not answer: start `testbed ui` again, and use the address that it prints.";
const NO_ANSWER = "No answer came. The timeline shows whether it was done.";

// A question is asked a second time: browsers drop requests when a network of the machine comes or goes, as testbeds' do.
async function ask(path, body) {
  const request = body === undefined ? {} : {method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify(body)};
  for (let tries = body === undefined ? 2 : 1; ; tries--) {
    let answer, said;
    try {
      answer = await fetch(`api/${path}`, {...request, credentials: "omit", cache: "no-store"});
      said = await answer.json();
    } catch (error) {
      if (tries > 1) { await pause(0.5); continue; }
      throw new Refused(0, body === undefined ? NO_SERVER : NO_ANSWER);
    }
    if (!answer.ok) throw new Refused(answer.status, String(said.error || answer.status));
    return said;
  }
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

function tellProblem(why) {
  const box = byId("problems");
  if (box.textContent !== (why || "")) box.textContent = why || "";
  box.hidden = !why;
  byId("main").classList.toggle("down", Boolean(why));
}

let lastStatus = null;
async function look() {
  const status = await ask("status");
  lastStatus = status;
  names = new Map(status.nodes.filter((node) => node.node_id).map((node) => [node.node_id, node.name]));
  heightNow = status.height_blocks;
  document.title = `Testbed ${status.testbed}`;
  byId("title").textContent = `Testbed ${status.testbed}`;
  byId("facts").textContent = [`topology ${status.topology}`, status.height_blocks === null ? "bitcoind does not answer" : `block ${status.height_blocks}`,
    many(status.nodes.length, "node"), many(status.channels.length, "channel"), status.chain_kept_fresh ? "a block whenever the last is an hour old" : ""].filter(Boolean).join(" · ");
  fill(byId("network"), [status.nodes, status.channels, status.phones.map((phone) => [phone.state, phone.link]), status.components.map((each) => [each.attached, each.held_payments]),
    byId("network").clientWidth < 760], () => { drawNetwork(status, byId("network")); return [...byId("network").childNodes]; });
  fillTables(status);
  fillPhones(status, phoneVerbs);
  fillLsps(status);
  fillNames(status);
  tick();
  if (setLanes(status)) refilter(true);
  tellProblem("");
}

let looking = null;
function lookNow() { looking = looking || look().finally(() => { looking = null; }); return looking; }

async function keepLooking() {
  for (;;) {
    let seconds = document.hidden ? HIDDEN_SECONDS : STATUS_SECONDS;
    try {
      await lookNow();
      fillPushes(await ask("pushes"));
    } catch (error) {
      tellProblem(error instanceof Refused ? error.message : `This page has a fault, and continues: ${error.message}`);
      seconds = DOWN_SECONDS;
    }
    document.documentElement.dataset.ready = "true";
    await pause(seconds);
  }
}

async function keepListening() {
  for (let after = 0, run; ;) {
    try {
      const said = await ask(`events?after=${after}&wait_seconds=${after ? WAIT_SECONDS : 1}`);
      after = said.last;
      if (run !== undefined && said.run !== run) beginAnew();
      run = said.run;
      if (said.events.length) take(said.events);
      if (said.events.length < MANY_EVENTS) await pause(0.3);
    } catch (error) {
      if (!(error instanceof Refused)) tellProblem(`This page has a fault, and continues: ${error.message}`);
      await pause(DOWN_SECONDS);
    }
  }
}

// The testbed was brought up again, or the server, with other events.
function beginAnew() {
  setStory({lanes: story.lanes});
  lives.clear();
  haystacks.length = 0;
  Object.assign(state, {payment: "", selected: -1, hovered: -1});
  setAbsences();
  fillPayments();
  changePayment();
}

function setLanes(status) {
  const lanes = [...status.nodes.map((node) => ({name: node.name, kind: node.role, runs: node.implementation})),
    ...["bitcoind", ...(status.phones.length ? ["push"] : []), "testbed"].map((name) => ({name, kind: "service"}))];
  if (JSON.stringify(lanes) === JSON.stringify(story.lanes.map(({away, ...lane}) => lane))) return false;
  story.lanes = lanes;
  setAbsences();
  return true;
}

// When phones were offline, as harness/timeline/presence.py has it: from the verbs of their links and their own logs.
const AWAY = {"disconnect": "disconnected", "blackhole": "blackholed", "reset": "connections reset", "asleep": "asleep", "frozen": "frozen"};
const LINK = ["disconnected", "blackholed", "connections reset"], SYSTEM = ["asleep", "frozen"];
const BACK = {"reconnect": ["disconnected"], "restore_link": LINK, "restore": [...LINK, ...SYSTEM], "awake": SYSTEM};
function setAbsences() {
  const reasons = new Map(story.lanes.filter((lane) => lane.kind !== "service").map((lane) => [lane.name, new Set()]));
  const spans = new Map([...reasons.keys()].map((name) => [name, []]));
  for (const event of events) {
    const why = reasons.get(event.lane);
    if (event.kind !== "phone" || !why) continue;
    const before = [...why].sort().join(", ");
    if (AWAY[event.what]) why.add(AWAY[event.what]);
    for (const each of BACK[event.what] || []) why.delete(each);
    const now = [...why].sort().join(", "), found = spans.get(event.lane), last = found[found.length - 1];
    if (now === before) continue;
    if (last && last.end === undefined) last.end = event.time;
    if (now) found.push({begin: event.time, why: now});
  }
  for (const lane of story.lanes) if (spans.has(lane.name)) lane.away = spans.get(lane.name);
}

// Adds events where their times put them: two logs are not read equally fast.
function take(news) {
  const atEnd = state.to >= shown.length - 0.5;
  let paymentsChanged = false, htlcsChanged = false;
  for (const event of news) {
    let place = events.length;
    while (place > 0 && events[place - 1].time > event.time) place--;
    events.splice(place, 0, event);
    haystacks.length = Math.min(haystacks.length, place);
    if (state.selected >= place) state.selected++;
    knowKind(event.kind);
    if (!event.payment_hashes) event.payment_hashes = [];
    paymentsChanged = takePayment(event) || paymentsChanged;
    htlcsChanged = takeHtlc(event) || htlcsChanged;
  }
  setAbsences();
  if (events.length > MOST_EVENTS) {
    const gone = events.length - MOST_EVENTS + 1000;
    events.splice(0, gone);
    haystacks.length = 0;
    state.selected = -1;
  }
  forget();
  fillKinds(() => refilter(false));
  if (paymentsChanged) {
    if (document.activeElement !== byId("payment")) fillPayments();
    fillSteps(goToStep);
  }
  if (htlcsChanged) fillHtlcs();
  refilter(false);
  if (atEnd) followEnd();
}

// What the page keeps is bounded, however long it is open.
function forget() {
  const gone = payments.splice(0, Math.max(0, payments.length - MOST_PAYMENTS));
  for (const payment of gone) byHash.delete(payment.payment_hash);
  if (gone.some((payment) => payment.payment_hash === state.payment)) state.payment = "";
  htlcs.splice(0, Math.max(0, htlcs.length - MOST_PAYMENTS));
  for (const key of lives.keys()) { if (lives.size <= MOST_PAYMENTS) break; lives.delete(key); }
}

function followEnd() {
  fit();
  if (state.scale === "even" && state.to - state.from > VIEW_EVENTS) state.from = state.to - VIEW_EVENTS;
  if (state.selected < 0) byId("rows").scrollTop = byId("rows").scrollHeight;
  fillRows(choose);
  draw();
}

// Whether anything but the time of its last event has changed.
function takePayment(event) {
  let changed = false;
  for (const payment_hash of event.payment_hashes) {
    let payment = byHash.get(payment_hash);
    if (!payment) {
      payment = {payment_hash, first: event.time, last: event.time, steps: []};
      payments.push(payment);
      byHash.set(payment_hash, payment);
      changed = true;
    }
    payment.first = Math.min(payment.first, event.time);
    payment.last = Math.max(payment.last, event.time);
    if (event.what === "pay" && event.amount_msat !== undefined) { payment.amount_msat = event.amount_msat; changed = true; }
    if (event.step && !payment.steps.some((step) => step.number === event.step)) {
      payment.steps.push({number: event.step, lane: event.lane, time: event.time, sentence: SENTENCES[event.step - 1]});
      changed = true;
    }
  }
  return changed;
}

// The life of an HTLC, from the messages of its ends and from what the component beside the receiver decides.
const ENDS = {"update_fulfill_htlc": "settled", "update_fail_htlc": "failed", "update_fail_malformed_htlc": "failed"};
const lives = new Map();
function takeHtlc(event) {
  if (event.htlc_id === undefined) return false;
  if (event.what === "update_add_htlc") {
    const life = {from_lane: event.lane, to: event.to, channel: event.channel, htlc_id: event.htlc_id, payment_hash: event.payment_hashes[0], amount_msat: event.amount_msat,
      expiry_blocks: event.expiry_blocks, offered: event.time};
    lives.set(`${event.to} ${event.htlc_id} ${event.channel || ""}`, life);
    htlcs.push(life);
    return true;
  }
  const life = lives.get(`${event.lane} ${event.htlc_id} ${event.channel || ""}`) || lives.get(`${event.lane} ${event.htlc_id} `);
  if (!life) return false;
  if (!life.payment_hash) life.payment_hash = event.payment_hashes[0];
  if (!life.channel) life.channel = event.channel;
  if (ENDS[event.what]) { if (life.ended === undefined) { life.ended = event.time; life.end = ENDS[event.what]; } }
  else if (event.what === "part") life.held = life.held ?? event.time;
  else if (event.what.startsWith("resolve ")) { life.resolved = event.time; life.resolution = event.what.slice(8); }
  return true;
}

function live() {
  setStory({lanes: []});
  begin();
  listenToVerbs();
  setInterval(tick, 1000);
  new ResizeObserver(() => { if (lastStatus && (byId("network").clientWidth < 760) !== live.narrow) { live.narrow = !live.narrow; drawNetwork(lastStatus, byId("network")); } }).observe(byId("main"));
  document.addEventListener("visibilitychange", () => { if (!document.hidden) lookNow().catch((error) => tellProblem(error.message)); });
  keepLooking();
  keepListening();
}

live();
