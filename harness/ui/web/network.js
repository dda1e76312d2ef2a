"use strict";
// The network as a graph: nodes in columns by their distance from the first one, channels with balances and HTLCs.
//
// Drawn here as SVG and not by a library: the graph libraries that Python packages ship (vis-network, cytoscape, Bokeh) draw
// on a canvas, which neither a keyboard nor a screen reader nor the tests' check of accessibility can read.

const BOX = {width: 164, height: 82}, ACROSS = 172, DOWN = 66;

function svg(name, attributes, words) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (words !== undefined) made.textContent = words;
  return made;
}

// The columns: names by distance from the first node, the topology's order within each. What is not connected to it
// begins a row of its own.
function columns(nodes, channels) {
  const neighbours = new Map(nodes.map((node) => [node.name, []]));
  for (const {ends: [one, other]} of channels) {
    if (!neighbours.has(one) || !neighbours.has(other)) continue;
    neighbours.get(one).push(other);
    neighbours.get(other).push(one);
  }
  const seen = new Set(), found = [];
  for (const {name} of nodes) {
    if (seen.has(name)) continue;
    seen.add(name);
    for (let at = 0, now = [name]; now.length; at++) {
      (found[at] = found[at] || []).push(...now);
      const next = [];
      for (const each of now) for (const other of neighbours.get(each)) if (!seen.has(other)) { seen.add(other); next.push(other); }
      now = next;
    }
  }
  return found;
}

function places(nodes, channels, upright) {
  const grid = columns(nodes, channels), most = Math.max(1, ...grid.map((column) => column.length));
  const step = upright ? {along: BOX.height + DOWN + 26, beside: BOX.width + 24} : {along: BOX.width + ACROSS, beside: BOX.height + 44};
  const at = new Map();
  grid.forEach((column, number) => column.forEach((name, row) => {
    const along = number * step.along, beside = (row + (most - column.length) / 2) * step.beside;
    at.set(name, upright ? {x: beside, y: along} : {x: along, y: beside});
  }));
  const size = {along: (grid.length - 1) * step.along, beside: (most - 1) * step.beside};
  return {at, width: (upright ? size.beside : size.along) + BOX.width, height: (upright ? size.along : size.beside) + BOX.height};
}

function drawNetwork(status, view) {
  const upright = view.clientWidth > 0 && view.clientWidth < 760;
  const {at, width, height} = places(status.nodes, status.channels, upright), margin = 30;
  view.setAttribute("viewBox", `${-margin} ${-margin} ${width + 2 * margin} ${height + 2 * margin}`);
  view.style.maxWidth = `${width + 2 * margin}px`;
  const phones = new Map(status.phones.map((phone) => [phone.name, phone]));
  const components = new Map(status.components.map((component) => [component.node, component]));
  const between = new Map(), drawn = [];
  for (const channel of status.channels) {
    if (!at.has(channel.ends[0]) || !at.has(channel.ends[1])) continue;
    const pair = [...channel.ends].sort().join(" "), before = between.get(pair) || 0;
    between.set(pair, before + 1);
    drawn.push(drawChannel(channel, at, before, upright));
  }
  for (const node of status.nodes) drawn.push(drawNode(node, at.get(node.name), phones.get(node.name), components.get(node.name)));
  view.replaceChildren(...drawn);
}

function drawNode(node, {x, y}, phone, component) {
  const group = svg("g", {transform: `translate(${x} ${y})`});
  const away = phone && (phone.state !== "awake" || phone.link !== "normal");
  const classes = ["box", phone ? "phone" : "", node.problem && !away ? "ill" : "", away ? "away" : ""].filter(Boolean).join(" ");
  group.append(svg("rect", {class: classes, width: BOX.width, height: BOX.height, rx: phone ? 16 : 6}));
  const line = (words, row, classes) => group.append(svg("text", {x: BOX.width / 2, y: 21 + row * 16.5, "text-anchor": "middle", class: classes || ""}, clipped(words, row ? 27 : 18)));
  line(node.name, 0, "name");
  line(`${node.role} · ${node.implementation}${node.version ? ` ${node.version}` : ""}`, 1, "muted");
  line(node.problem ? node.problem : `block ${node.height_blocks}${node.synced ? "" : ", behind"}`, 2, node.problem ? "bad" : "");
  if (phone) line(`${phone.state} · ${phone.link}`, 3, away ? "bad" : "muted");
  else if (component) line(component.attached ? `LSP holds ${many(component.held_payments, "payment")}` : "LSP is not attached", 3, component.attached ? "muted" : "bad");
  group.append(svg("title", {}, [node.name, node.node_id, node.problem].filter(Boolean).join("\n")));
  return group;
}

function clipped(words, most) {
  const said = String(words);
  return said.length > most ? `${said.slice(0, most - 1)}…` : said;
}

// Where the line from the middle of a box to another point leaves the box.
function border(from, to) {
  const dx = to.x - from.x, dy = to.y - from.y;
  const part = Math.min(dx ? BOX.width / 2 / Math.abs(dx) : 1, dy ? BOX.height / 2 / Math.abs(dy) : 1, 1);
  return {x: from.x + dx * part, y: from.y + dy * part};
}

function drawChannel(channel, at, before, upright) {
  const middle = ({x, y}) => ({x: x + BOX.width / 2, y: y + BOX.height / 2});
  let [one, other] = channel.ends.map((name) => middle(at.get(name))), [left, right] = channel.balances_msat;
  const turned = upright ? other.y < one.y : other.x < one.x;
  if (turned) { [one, other] = [other, one]; [left, right] = [right, left]; }
  const shift = before * 50, off = upright ? {x: shift * 1.4, y: 0} : {x: 0, y: shift};
  const begin = border(one, other), end = border(other, one);
  const half = {x: (begin.x + end.x) / 2 + off.x, y: (begin.y + end.y) / 2 + off.y};
  const group = svg("g", {});
  const classes = ["edge", channel.private ? "private" : "", channel.active ? "" : "unusable"].filter(Boolean).join(" ");
  group.append(svg("path", {class: classes, d: `M${begin.x} ${begin.y}L${half.x} ${half.y}L${end.x} ${end.y}`}));
  const wide = 148, label = svg("g", {transform: `translate(${half.x - wide / 2} ${half.y - 24})`});
  const whole = channel.capacity_sat * 1000, mine = left ?? whole - (right ?? 0);
  const share = Math.max(0, Math.min(1, whole ? mine / whole : 0)) * (wide - 12);
  const arrows = upright ? ["↑", "↓"] : ["←", "→"];
  const text = (words, y, classes) => svg("text", {x: wide / 2, y, "text-anchor": "middle", class: classes}, words);
  const kind = `${channel.short_channel_id} ${channel.private ? "private" : "public"}`;
  label.append(svg("rect", {class: "label", width: wide, height: 46, rx: 4}),
    text(`${arrows[0]} ${short(left)} · ${short(right)} ${arrows[1]}`, 14, ""),
    svg("rect", {class: "rest", x: 6, y: 19, width: wide - 12, height: 7, rx: 3}), svg("rect", {class: "share", x: 6, y: 19, width: share, height: 7, rx: 3}),
    text(channel.active ? kind : `${kind}, not usable`, 40, channel.active ? "muted" : "bad"));
  if (channel.htlcs) {
    label.append(svg("rect", {class: "badge", x: wide / 2 - 34, y: 46, width: 68, height: 17, rx: 8}), text(many(channel.htlcs, "HTLC"), 58.5, "badge-text"));
  }
  label.append(svg("title", {}, `${channel.ends.join(" and ")}: ${channel.balances_msat.map((msat) => msat === null ? "?" : `${sat(msat)} sat`).join(" and ")}\n` +
    channel.payment_hashes.join("\n")));
  group.append(label);
  return group;
}

// Whole satoshis, so that two fit between two nodes.
function short(msat) { return msat === null || msat === undefined ? "?" : sat(Math.floor(msat / 1000) * 1000); }
