"use strict";
// What the reader does, and what follows from it.

function choose(number) {
  state.selected = number >= 0 && number < shown.indices.length ? shown.indices[number] : -1;
  if (state.selected >= 0) {
    show(number);
    scrollTo(number);
  }
  fillDetails();
  fillRows(choose);
  draw();
}

function selectedNumber() { return state.selected < 0 ? -1 : shown.indices.indexOf(state.selected); }

function refilter(refit) {
  filter();
  if (refit) fit(); else bound();
  if (selectedNumber() < 0) state.selected = -1;
  fillDetails();
  fillRows(choose);
  draw();
}

function changePayment() {
  state.payment = byId("payment").value;
  fillSteps(goToStep);
  fillHtlcs();
  refilter(true);
}

function goToStep(step) {
  const reached = byHash.get(state.payment).steps.find((each) => each.number === step);
  const number = shown.indices.findIndex((index) => events[index].step === step && Math.abs(events[index].time - reached.time) < 1e-6);
  if (number < 0) return;
  const width = Math.min(state.to - state.from, state.scale === "time" ? shown.length / 4 : 24);
  state.from = shown.at[number] - width / 2;
  state.to = state.from + width;
  bound();
  choose(number);
}

function hover(pointer) {
  const box = canvas.getBoundingClientRect(), x = pointer.clientX - box.left, y = pointer.clientY - box.top;
  const number = under(x, y), index = number < 0 ? -1 : shown.indices[number], tip = byId("tip");
  if (index !== state.hovered) { state.hovered = index; draw(); }
  tip.hidden = index < 0;
  if (index < 0) return;
  const event = events[index];
  tip.replaceChildren(element("div", "t mono", `${clock(event.time)}  ${event.to ? `${event.lane} → ${event.to}` : event.lane}`),
    element("div", "", sentence(event)), ...(event.because ? [element("div", "t", event.because)] : []));
  tip.style.left = `${Math.max(4, Math.min(x + 14, size.width - tip.offsetWidth - 8))}px`;
  tip.style.top = `${y + 16 + tip.offsetHeight > size.height ? Math.max(4, y - tip.offsetHeight - 12) : y + 16}px`;
}

function listenToPointer() {
  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => { dragged = {x: event.clientX, from: event.clientX}; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    if (!dragged) { hover(event); return; }
    canvas.classList.add("dragging");
    pan((dragged.x - event.clientX) / (size.width - size.gutter) * (state.to - state.from));
    dragged.x = event.clientX;
    byId("tip").hidden = true;
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    const moved = dragged && Math.abs(event.clientX - dragged.from) > 4, box = canvas.getBoundingClientRect();
    dragged = null;
    canvas.classList.remove("dragging");
    if (!moved) choose(under(event.clientX - box.left, event.clientY - box.top));
  });
  canvas.addEventListener("pointercancel", () => { dragged = null; canvas.classList.remove("dragging"); });
  canvas.addEventListener("pointerleave", () => { state.hovered = -1; byId("tip").hidden = true; draw(); });
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) zoom(Math.exp(event.deltaY * 0.004), atOf(event.clientX - canvas.getBoundingClientRect().left));
    else if (event.deltaX || event.shiftKey) pan((event.deltaX || event.deltaY) / size.width * (state.to - state.from));
    else return;
    event.preventDefault();
    draw();
  }, {passive: false});
}

const middle = () => state.selected >= 0 && selectedNumber() >= 0 ? shown.at[selectedNumber()] : (state.from + state.to) / 2;
const KEYS = {
  "ArrowLeft": () => pan((state.from - state.to) * 0.1), "ArrowRight": () => pan((state.to - state.from) * 0.1),
  "+": () => zoom(0.7, middle()), "=": () => zoom(0.7, middle()), "-": () => zoom(1.4, middle()), "0": fit,
  "ArrowUp": () => choose(Math.max(0, selectedNumber() - 1)), "ArrowDown": () => choose(Math.min(shown.indices.length - 1, selectedNumber() + 1)),
  "Home": () => choose(0), "End": () => choose(shown.indices.length - 1),
};

function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    const target = event.target, typing = target.matches("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      const searched = state.search !== "";
      byId("search").value = "";
      state.search = "";
      state.selected = -1;
      refilter(searched);
    } else if (event.key === "/" && !typing) {
      event.preventDefault();
      byId("search").focus();
    } else if (KEYS[event.key] && !typing && (target === canvas || target === byId("rows") || target === document.body)) {
      event.preventDefault();
      KEYS[event.key]();
      draw();
    }
  });
}

async function main() {
  try {
    setStory(await readStory());
  } catch (error) {
    byId("problems").hidden = false;
    byId("problems").textContent = `This timeline cannot be shown: ${error.message}. Open the file in a current browser, or make it again with \`testbed timeline\`.`;
    return;
  }
  state.payment = payments.length ? payments.reduce((one, other) => other.first > one.first ? other : one).payment_hash : "";
  fillHead();
  begin();
  document.documentElement.dataset.ready = "true";
}

// Shows the story, and listens to the reader. The live page begins with a story in which nothing has happened yet.
function begin() {
  readColours();
  fillPayments();
  fillKinds(() => refilter(false));
  fillLegend();
  changePayment();
  listenToPointer();
  listenToKeys();
  const press = (id, act) => byId(id).addEventListener("click", () => { act(); draw(); });
  press("closer", () => zoom(0.6, middle()));
  press("wider", () => zoom(1.6, middle()));
  press("fit", fit);
  byId("payment").addEventListener("change", changePayment);
  byId("scale").addEventListener("change", () => { state.scale = byId("scale").value; refilter(true); });
  byId("search").addEventListener("input", () => { state.search = byId("search").value; refilter(true); });
  byId("rows").addEventListener("scroll", () => fillRows(choose));
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement, dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
    readColours();
    draw();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); draw(); });
  new ResizeObserver(() => { draw(); fillRows(choose); }).observe(byId("stage"));
}
