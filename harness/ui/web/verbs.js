"use strict";
// What can be done to the testbed: forms and buttons, each one request, and what came of it.

// Of each form, in groups: its title, its path (`{x}` is the field x), and its fields: the kind of name to choose, or a list of
// choices, or the text or number to begin with. `?` after a field's name: it may be left empty.
const FORMS = {
  "Payments": [
    ["Pay", "pay", {payer: "node", payee: "node", amount: "1000sat"}],
    ["Play the demo", "demo", {}],
  ],
  "Chain and channels": [
    ["Mine", "mine", {blocks: 1}],
    ["Fund", "fund", {node: "node", amount: "200000sat"}],
    ["Open channel", "open-channel", {opener: "node", peer: "node", capacity: "1000000sat", "push?": "", private: false}],
    ["Close channel", "close-channel", {closer: "node", peer: "node", "channel?": "", force: false}],
  ],
  "Faults": [
    ["Service", "services/{service}/{do}", {service: "service", do: ["kill", "stop", "start", "restart"]}],
    ["Push gateway", "push-gateway", {answer: ["normally", "500", "hang", "redirect"]}],
  ],
};
const PHONE_VERBS = ["sleep", "wake", "freeze", "unfreeze", "disconnect", "reconnect", "reset", "restore", "register"];
const WALLET_FORMS = [
  ["Receive", "wallets/{phone}/receive", {amount: "25000sat", "description?": ""}],
  ["Pay", "wallets/{phone}/pay", {invoice: ""}],
];
const MORE_FORMS = [
  ["blackhole", "phones/{phone}/blackhole", {"direction?": ["", "upstream", "downstream"]}],
  ["latency", "phones/{phone}/latency", {delay: "300ms"}],
  ["bandwidth", "phones/{phone}/bandwidth", {rate: "1kB"}],
  ["Cancel", "wallets/{phone}/cancel", {payment_hash: ""}],
];
const KINDS_OF_NAMES = ["node", "phone", "service"];
const MOST_DONE = 12;

let known = {node: [], phone: [], service: []};

// What each path does, in the sentences of the OpenAPI document: shown when the pointer rests on a button.
const helps = new Map();
async function readHelps() {
  const paths = (await ask("openapi.json")).paths;
  for (const [path, methods] of Object.entries(paths)) if (methods.post) helps.set(path.replace("/api/", ""), methods.post.description || "");
  document.querySelectorAll("button[data-path]").forEach(help);
}

function help(made) { made.title = helps.get(made.dataset.path) || ""; }

function button(words, path, press) {
  const made = element("button", "button", words);
  made.type = "button";
  made.dataset.path = path;
  help(made);
  made.addEventListener("click", () => press(made));
  return made;
}

// fixed: fields that are not to be filled in, such as the phone of a card.
function form([title, path, fields], fixed) {
  const made = element("form", "do"), inputs = new Map();
  made.setAttribute("aria-label", fixed.phone ? `${title}, ${fixed.phone}` : title);
  for (const [name, begin] of Object.entries(fields)) {
    const label = element("label", "", `${name.replace("?", "").replaceAll("_", " ")} `), input = field(begin);
    input.dataset.field = name.replace("?", "");
    input.required = !name.endsWith("?") && input.type !== "checkbox";
    label.append(input);
    made.append(label);
    inputs.set(name, input);
  }
  const submit = element("button", "button", title);
  submit.type = "submit";
  submit.dataset.path = path;
  help(submit);
  made.append(submit);
  made.addEventListener("submit", (event) => {
    event.preventDefault();
    const body = {};
    for (const [name, input] of inputs) {
      const value = input.type === "checkbox" ? input.checked : input.type === "number" ? Number(input.value) : input.value.trim();
      if (!(name.endsWith("?") && value === "")) body[name.replace("?", "")] = value;
    }
    run(title, path, {...fixed, ...body}, submit);
  });
  return made;
}

function field(begin) {
  if (Array.isArray(begin) || KINDS_OF_NAMES.includes(begin)) {
    const select = element("select");
    if (Array.isArray(begin)) for (const each of begin) select.append(new Option(each || "both", each));
    else select.dataset.names = begin;
    return select;
  }
  const input = element("input");
  input.type = typeof begin === "boolean" ? "checkbox" : typeof begin === "number" ? "number" : "text";
  input.autocomplete = "off";
  input.spellcheck = false;
  if (typeof begin !== "boolean") input.value = begin;
  if (typeof begin === "number") { input.min = 1; input.max = 2016; }
  return input;
}

// Sends it, and tells in the list what came of it. The button rests meanwhile; everything else can be used.
async function run(title, path, values, pressed) {
  const body = {...values}, began = performance.now();
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => { const value = body[name]; delete body[name]; return encodeURIComponent(value); });
  const entry = element("li"), state = element("span", "chip", "at work");
  const said = element("span", "what");
  entry.append(state, element("b", "", [title, ...Object.values(values).filter((each) => each !== "" && each !== false).map((each) => clipped(each === true ? "" : each, 40))].join(" ")), said);
  byId("done").prepend(entry);
  while (byId("done").children.length > MOST_DONE) byId("done").lastChild.remove();
  pressed.disabled = true;
  try {
    const answer = await ask(filled, body);
    const failed = answer.state === "failed";
    state.textContent = `${failed ? "failed" : "done"} in ${duration((performance.now() - began) / 1000)}`;
    state.classList.add(failed ? "bad" : "good");
    said.textContent = outcome(answer);
    if (answer.invoice) offer(values.phone, answer.invoice, entry);
  } catch (error) {
    state.textContent = "not done";
    state.classList.add("bad");
    said.textContent = error.message;
  } finally {
    pressed.disabled = false;
    lookNow().catch((error) => tellProblem(error.message));
  }
}

function outcome(answer) {
  const parts = [];
  if (answer.failure) parts.push(answer.failure);
  if (answer.height_blocks !== undefined) parts.push(`block ${answer.height_blocks}`);
  if (answer.link !== undefined) parts.push(`${answer.state}, link ${answer.link}`);
  else if (answer.state) parts.push(answer.state);
  if (answer.fee_msat !== undefined && (answer.preimage || !answer.state)) parts.push(`fee ${sat(answer.fee_msat)} sat`);
  if (answer.moved_msat) parts.push(Object.entries(answer.moved_msat).map(([name, msat]) => `${name} ${msat < 0 ? "−" : "+"}${sat(Math.abs(msat))} sat`).join(", "));
  if (answer.short_channel_id) parts.push(answer.short_channel_id);
  if (answer.onchain_sat !== undefined) parts.push(`${sat(answer.onchain_sat * 1000)} sat on-chain`);
  if (answer.preimage) parts.push(`preimage ${answer.preimage}`);
  return parts.join("; ");
}

// An invoice is shown whole, and is offered to the other phones to pay.
function offer(receiver, invoice, entry) {
  const shown_ = element("input", "mono invoice");
  shown_.readOnly = true;
  shown_.value = invoice;
  shown_.setAttribute("aria-label", "The invoice");
  entry.append(shown_);
  for (const input of document.querySelectorAll('#phones [data-field="invoice"]')) if (input.closest("article").dataset.name !== receiver) input.value = invoice;
}

function phoneVerbs(card, phone) {
  const row = element("div", "verbs"), wallet = element("div", "forms"), more = element("details"), forms = element("div", "forms");
  for (const verb of PHONE_VERBS) {
    const path = `phones/{phone}/${verb}`;
    row.append(button(verb, path, (pressed) => run(verb, path, {phone: phone.name}, pressed)));
  }
  wallet.append(...WALLET_FORMS.map((each) => form(each, {phone: phone.name})));
  forms.append(...MORE_FORMS.map((each) => form(each, {phone: phone.name})));
  more.append(element("summary", "", "blackhole, latency, bandwidth, cancel a payment"), forms);
  card.append(row, wallet, more);
}

// The names to choose from, when they have changed; what was chosen stays chosen.
function fillNames(status) {
  const nodes = status.nodes.map((node) => node.name), phones = status.phones.map((phone) => phone.name);
  const now = {node: nodes, phone: phones, service: [...nodes, ...status.components.map((each) => each.name), "bitcoind", ...(phones.length ? ["push", "toxiproxy"] : [])]};
  if (JSON.stringify(now) === JSON.stringify(known)) return;
  known = now;
  document.querySelectorAll("select[data-names]").forEach((select) => {
    const chosen = select.value, second = ["payee", "peer"].includes(select.dataset.field) ? known[select.dataset.names].slice(-1)[0] : "";
    select.replaceChildren(...known[select.dataset.names].map((name) => new Option(name, name)));
    select.value = known[select.dataset.names].includes(chosen) ? chosen : second || select.options[0]?.value || "";
  });
}

function listenToVerbs() {
  for (const [title, forms] of Object.entries(FORMS)) {
    const group = element("div", "forms");
    group.append(...forms.map((each) => form(each, {})));
    byId("forms").append(element("h3", "", title), group);
  }
  readHelps().catch(() => {});  // the buttons work without them
}
