"use strict";
// Tables and cards: what the status says in words. Texts become textContent and nothing else.

const many = (count, one) => `${Number(count).toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
const SOON_BLOCKS = 12, SOON_SECONDS = 60, MOST_ROWS = 30;
let names = new Map();

function nameOf(id) { return names.get(id) || `${String(id).slice(0, 10)}…`; }

// Puts something in its place unless it is there already, so that nobody's focus or selection is lost for nothing.
const shownAs = new WeakMap();
function fill(place, what, make) {
  const now = JSON.stringify(what);
  if (shownAs.get(place) === now) return false;
  shownAs.set(place, now);
  const made = make();
  place.replaceChildren(...(Array.isArray(made) ? made : [made]));
  return true;
}

// heads: of the columns, `#` before those with numbers. rows: of cells, each a text or an element.
function table(heads, rows, caption) {
  const made = element("table", "data"), top = element("thead"), head = element("tr"), body = element("tbody");
  if (caption) made.append(element("caption", "visually-hidden", caption));
  const right = heads.map((each) => each.startsWith("#"));
  heads.forEach((each, column) => {
    const cell = element("th", right[column] ? "number" : "", each.replace("#", ""));
    cell.scope = "col";
    head.append(cell);
  });
  for (const row of rows) {
    const line = element("tr", row.over ? "over" : "");
    row.values.forEach((cell, column) => {
      const box = element("td", right[column] ? "number" : "");
      if (cell instanceof Node) box.append(cell); else box.textContent = cell ?? "–";
      line.append(box);
    });
    body.append(line);
  }
  top.append(head);
  made.append(top, body);
  return made;
}

const cells = (values, over) => ({values, over});
const none = (words) => element("p", "none", words);

function hash(hex) {
  const made = element("span", "mono short", hex ? `${String(hex).slice(0, 8)}…` : "–");
  if (hex) made.title = hex;
  return made;
}

// A time or a height that comes nearer: the text changes each second, by itself.
const deadlines = new Set();
let heightNow = null;
function deadline(kind, until) {
  const made = element("span", "short");
  if (until === null || until === undefined) { made.textContent = "–"; return made; }
  made.dataset[kind] = until;
  deadlines.add(new WeakRef(made));
  count(made);
  return made;
}

function count(made) {
  const {block, time} = made.dataset;
  if (block !== undefined) {
    const left = heightNow === null ? null : Number(block) - heightNow;
    made.textContent = left === null ? `block ${block}` : `block ${block}, ${left > 0 ? `in ${many(left, "block")}` : "reached"}`;
    made.classList.toggle("soon", left !== null && left <= SOON_BLOCKS);
    return;
  }
  const left = Number(time) - Date.now() / 1000;
  made.textContent = left > 0 ? `in ${left < 100 ? `${Math.floor(left)} s` : duration(left)}` : "over";
  made.classList.toggle("soon", left <= SOON_SECONDS);
}

function tick() {
  for (const each of deadlines) {
    const made = each.deref();
    if (!made || !made.isConnected) deadlines.delete(each); else count(made);
  }
}

function chip(words, kind) { return element("span", `chip ${kind || ""}`, words); }

function fillTables(status) {
  fill(byId("tables"), [status.nodes, status.channels], () => [
    table(["node", "role", "runs", "#block", "#on-chain, sat", "#in channels, sat", "node id"], status.nodes.map((node) => cells([
      node.name, node.role, `${node.implementation} ${node.version || ""}`, node.problem || node.height_blocks,
      node.onchain_sat === null ? "?" : sat(node.onchain_sat * 1000), node.channel_balance_msat === null ? "?" : sat(node.channel_balance_msat), hash(node.node_id),
    ])), "Nodes"),
    table(["channel", "between", "#sat", "and", "#sat", "kind", "#HTLCs"], status.channels.map((channel) => cells([
      channel.short_channel_id, channel.ends[0], short(channel.balances_msat[0]), channel.ends[1], short(channel.balances_msat[1]),
      `${channel.private ? "private" : "public"}${channel.active ? "" : ", not usable"}`, channel.htlcs,
    ])), "Channels"),
  ]);
}

// One card for each, made once: what is in it changes, and buttons stay.
function cards(place, items, make) {
  const kept = new Map([...place.children].map((card) => [card.dataset.name, card]));
  for (const item of items) {
    if (kept.has(item.name)) continue;
    const card = element("article", "panel"), title = element("h3");
    card.dataset.name = item.name;
    card.setAttribute("aria-label", item.name);
    card.tabIndex = 0;
    card.append(title, element("div", "said"));
    place.append(card);
    kept.set(item.name, card);
    make(card, item);
  }
  for (const [name, card] of kept) if (!items.some((item) => item.name === name)) card.remove();
  return kept;
}

function fillPhones(status, make) {
  const place = byId("phones"), kept = cards(place, status.phones, make);
  for (const phone of status.phones) {
    const card = kept.get(phone.name);
    fill(card.firstChild, [phone.state, phone.link, phone.apps], () => [
      element("span", "", phone.name), chip(phone.state, phone.state === "awake" ? "good" : "bad"),
      chip(`link ${phone.link}`, phone.link === "normal" ? "good" : "bad"),
      ...phone.apps.map((app) => chip(`${app.name} ${app.pid ? app.process_states.includes("T") ? "suspended" : "runs" : "does not run"}`, app.pid ? "" : "bad")),
    ]);
    fill(card.querySelector(".said"), [phone.payments, phone.lsp], () => paymentsOf(phone));
  }
  place.parentElement.hidden = !status.phones.length;
}

function paymentsOf(phone) {
  if (!phone.payments) return none("The wallet does not answer now.");
  const {sent, announced} = phone.payments;
  if (!sent.length && !announced.length) return none(`Its LSP is ${phone.lsp}. No payments yet.`);
  return table(["payment", "#sat", "state", "release by", "hold until", "said"], [
    ...sent.slice(-8).reverse().map((each) => cells([hash(each.payment_hash), `−${sat(each.amount_msat)}`, each.state,
      each.ended_at ? "–" : deadline("block", each.release_by_height), each.ended_at ? "–" : deadline("time", each.hold_until),
      each.failure || each.description || "–"], each.ended_at)),
    ...announced.slice(-8).reverse().map((each) => cells([hash(each.payment_hashes[0]), `+${sat(each.amount_msat)}`, each.state,
      each.state === "paid" ? "–" : deadline("block", each.release_by_height), each.state === "paid" ? "–" : deadline("time", each.hold_until),
      each.failure || "–"], each.state === "paid")),
  ], `Payments of ${phone.name}`);
}

function fillLsps(status) {
  const place = byId("lsps"), kept = cards(place, status.components, () => {});
  for (const component of status.components) {
    const card = kept.get(component.name);
    fill(card.firstChild, [component.attached, component.container], () => [
      element("span", "", component.name), chip(component.attached ? "attached" : component.container === "running" ? "not attached" : component.container, component.attached ? "good" : "bad"),
    ]);
    // An age grows all the time, and is not shown.
    const said = component.said && {...component.said, blocks: component.said.blocks.map((block) => ({...block, parts: block.parts.map(({age_seconds, ...rest}) => rest)})),
      waiting_for_a_client: component.said.waiting_for_a_client.map(({age_seconds, ...rest}) => rest)};
    fill(card.querySelector(".said"), [said, component.problem], () => lspParts(component));
  }
  place.parentElement.hidden = !status.components.length;
}

function lspParts(component) {
  const said = component.said, made = component.problem ? [none(component.problem)] : [];
  if (!said) return made;
  const blocks = [...said.blocks].sort((one, other) => one.finished - other.finished || other.hold_until - one.hold_until).slice(0, MOST_ROWS);
  made.push(element("h4", "", "Held payments"));
  made.push(blocks.length ? table(["payment", "for", "#sat", "state", "#parts", "release by", "hold until"], blocks.map((block) => cells([
    hash(block.payment_hashes[0]), nameOf(block.client), sat(block.amount_msat), block.state, block.parts.filter((part) => !part.gone).length,
    block.finished ? "–" : deadline("block", block.release_by_height), block.finished ? "–" : deadline("time", block.hold_until),
  ], block.finished)), "Held payments") : none("None."));
  const waiting = said.waiting_for_a_client;
  if (waiting.length) {
    made.push(element("h4", "", "HTLCs that wait for their client"), table(["HTLC", "payment", "#sat", "expires"], waiting.slice(0, MOST_ROWS).map((htlc) => cells([
      htlc.short_channel_id || htlc.htlc.slice(0, 12), hash(htlc.payment_hash), sat(htlc.amount_msat), deadline("block", htlc.incoming_expiry)])), "Waiting HTLCs"));
  }
  const mailbox = Object.entries(said.mailbox);
  made.push(element("h4", "", "Mailbox"), mailbox.length ? table(["for", "#messages", "#bytes"], mailbox.map(([client, kept]) => cells([nameOf(client), kept.messages, kept.bytes])), "Mailbox") : none("Empty."));
  made.push(element("h4", "", "Webhooks"), said.webhooks.length ? table(["client", "app", "URL"], said.webhooks.slice(0, MOST_ROWS).map((hook) => cells([nameOf(hook.client), hook.app_name, hook.url])), "Webhooks") : none("None."));
  const errors = said.last_errors.slice(-3).reverse();
  if (errors.length) made.push(element("h4", "", "Last errors"), table(["when", "what", "because"], errors.map((error) => cells([clock(error.time || 0).slice(0, 8), error.what, error.because])), "Last errors"));
  return made;
}

function fillPushes(pushes) {
  fill(byId("pushes"), pushes, () => pushes.length ? table(["time", "phone", "method", "genuine", "had by the phone"], pushes.slice(-MOST_ROWS).reverse().map((push) => cells([
    clock(push.time).slice(0, 8), push.phone, (push.method || "?").split(".").pop(), push.refused === null ? "yes" : `${push.checked ? "no" : "not checked"}: ${push.refused}`,
    push.refused !== null ? "never" : push.delivered === null ? `not yet, ${many(push.attempts, "try").replace("trys", "tries")}` : clock(push.delivered).slice(0, 8),
  ])), "Pushes") : none("None yet."));
}
