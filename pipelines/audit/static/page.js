// The review page. Text is only ever set with textContent; a verdict is shown as given once the server has it on disk.
// A verdict is given for what is on the screen alone: `screen` is null until picture, box and caption are painted.
"use strict";

const KEYS = { a: "accept", x: "reject", " ": "skip", z: "undo" };
const LOAD_TIMEOUT_MS = 20000;
const STAGE_MARGIN_PX = 6; // room for the line of a box that touches the border of its picture
const MAX_ENLARGEMENT = 8; // a small picture is not a small task
const TOKEN = takeToken();
const at = (id) => document.getElementById(id);
const loads = new Map(); // position -> promise of {item, image}
let total = 0;
let given = []; // valid verdicts, in order: {position, verdict, event_id}
let current = null; // position of the current item
let drawn = null; // the item in the page
let screen = null; // what can be judged: {position, picture}; without a picture it can only be skipped
let turn = 0; // counts the changes of the screen; what finishes in an earlier turn is dropped
let pressed; // `screen` when a button went down, until its click
let focused = null; // the button that lost the focus when it became inactive
let waiting = false; // one message at a time
let unsent = null; // kept with its id after a failure, so that sending again cannot count twice

function takeToken() {
  // out of the address bar, so that neither history nor a shared screen shows it
  const found = location.hash.slice(1);
  if (found) {
    sessionStorage.setItem("token", found);
    history.replaceState(null, "", "/");
  }
  return sessionStorage.getItem("token") || "";
}

async function ask(path, { body, signal } = {}) {
  const headers = { "X-Groundswell-Token": TOKEN };
  const options = body === undefined
    ? { headers, signal }
    : { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is `groundswell audit serve` still running?");
  }
  if (answer.ok) return answer;
  const detail = await answer.json().catch(() => ({}));
  const error = new Error(detail.error || `The server answered ${answer.status}; its terminal says why.`);
  error.status = answer.status;
  throw error;
}

function load(position) {
  if (!loads.has(position)) {
    const both = inTime((signal) => fetchItem(position, signal));
    both.catch(() => loads.get(position) === both && loads.delete(position));
    loads.set(position, both);
  }
  return loads.get(position);
}

function inTime(task) {
  const stop = new AbortController();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`The picture did not arrive within ${LOAD_TIMEOUT_MS / 1000} s.`));
      stop.abort();
    }, LOAD_TIMEOUT_MS);
  });
  return Promise.race([task(stop.signal), late]).finally(() => clearTimeout(timer));
}

async function fetchItem(position, signal) {
  const [item, image] = await Promise.all([
    ask(`/api/items/${position}`, { signal }).then((answer) => answer.json()),
    ask(`/api/images/${position}`, { signal }).then(decode),
  ]);
  return { item, image };
}

async function decode(answer) {
  const image = new Image();
  image.id = "image";
  image.alt = "the image under review";
  image.decoding = "sync"; // painted in one frame with its box and caption
  let url;
  try {
    const blob = await answer.blob();
    (await createImageBitmap(blob)).close(); // fails on a picture that is cut short, where <img> shows a part
    url = URL.createObjectURL(blob);
    image.src = url;
    await image.decode();
  } catch {
    throw new Error("The picture arrived damaged.");
  } finally {
    URL.revokeObjectURL(url);
  }
  return image;
}

function forget(keep) {
  for (const position of loads.keys()) {
    if (!keep.includes(position)) loads.delete(position);
  }
}

function open() {
  const done = new Set(given.map((one) => one.position));
  return Array.from({ length: total }, (_, position) => position).filter((position) => !done.has(position));
}

async function show() {
  const [position = null, ...later] = open();
  showProgress();
  if (position !== null && screen && screen.position === position) return enable(); // still there, e.g. not saved
  clear();
  current = position;
  at("task").hidden = position === null;
  at("end").hidden = position !== null;
  if (position === null) return showEnd();
  const mine = turn;
  const next = later.slice(0, 2);
  const loaded = load(position);
  next.forEach((soon) => load(soon).catch(() => {})); // its error is shown when it is its turn
  forget([position, ...next, ...given.slice(-1).map((one) => one.position)]);
  let ready;
  try {
    ready = await loaded;
  } catch (error) {
    if (mine === turn) giveUp(error);
    return;
  }
  if (mine !== turn) return;
  draw(ready);
  await settle();
}

// Nothing of the last item stays on the screen, and nothing can be judged.
function clear() {
  withdraw();
  drawn = null;
  at("frame").hidden = true;
  at("notice").textContent = "Loading the picture";
  for (const id of ["asked", "before", "phrase", "after"]) at(id).textContent = "";
}

function withdraw() {
  turn += 1;
  screen = null;
  delete at("frame").dataset.position;
  enable();
}

function draw({ item, image }) {
  const [x0, y0, x1, y1] = item.box;
  drawn = item;
  if (at("image") !== image) at("image").replaceWith(image);
  at("overlay").setAttribute("viewBox", `0 0 ${item.width} ${item.height}`);
  for (const rect of at("overlay").children) {
    // a rect without an area is not painted at all
    const place = { x: x0, y: y0, width: Math.max(x1 - x0, 0.01), height: Math.max(y1 - y0, 0.01) };
    for (const [name, value] of Object.entries(place)) rect.setAttribute(name, value);
  }
  at("asked").textContent = item.phrase;
  at("before").textContent = item.before;
  at("phrase").textContent = item.phrase;
  at("after").textContent = item.after;
  at("notice").textContent = "";
  at("frame").hidden = false;
  fit();
}

// Waits until the browser has painted what `draw` put into the page, then lets it be judged.
async function settle() {
  const mine = turn;
  try {
    await at("image").decode();
  } catch {
    if (mine === turn) giveUp(new Error("The picture cannot be decoded."));
    return;
  }
  await nextFrame(); // is about to be painted
  await nextFrame(); // was painted
  if (mine !== turn || at("overlay").classList.contains("hidden")) return;
  screen = { position: current, picture: true };
  at("frame").dataset.position = current;
  enable();
}

function nextFrame() {
  return new Promise((resolve) => requestAnimationFrame(resolve));
}

function giveUp(error) {
  clear();
  at("notice").textContent = "No picture";
  tell(`This item cannot be judged. ${error.message} Skip it, or reload the page to try again.`);
  screen = { position: current, picture: false };
  enable();
}

// The image fills the stage whatever the words around it leave of the window.
function fit() {
  if (drawn === null) return;
  const stage = at("stage");
  const across = (stage.clientWidth - 2 * STAGE_MARGIN_PX) / drawn.width;
  const down = (stage.clientHeight - 2 * STAGE_MARGIN_PX) / drawn.height;
  const scale = Math.max(Math.min(across, down, MAX_ENLARGEMENT), 0);
  at("frame").style.width = `${drawn.width * scale}px`;
  at("frame").style.height = `${drawn.height * scale}px`;
  const caption = at("caption");
  caption.classList.toggle("long", caption.scrollHeight > caption.clientHeight);
  showMarkedWords();
}

function showMarkedWords() {
  const caption = at("caption"), words = at("phrase");
  const room = Math.max(caption.clientHeight - words.offsetHeight, 0);
  caption.scrollTop = words.offsetTop - room / 2;
  at("question").scrollTop = 0;
}

function showProgress() {
  at("bar").max = Math.max(total, 1);
  at("bar").value = given.length;
  at("count").textContent = `${given.length} of ${total}`;
}

function showEnd() {
  const count = (verdict) => given.filter((one) => one.verdict === verdict).length;
  at("tally").textContent =
    `${count("accept")} accepted, ${count("reject")} rejected, ${count("skip")} skipped.`;
  at("end").focus();
}

function tell(message) {
  at("trouble").hidden = !message;
  at("trouble").textContent = message;
}

function allowed(kind) {
  if (waiting) return false;
  if (kind === "undo") return given.length > 0;
  return screen !== null && (screen.picture || kind === "skip");
}

function enable() {
  const active = document.activeElement;
  for (const kind of Object.values(KEYS)) {
    const button = at(kind);
    button.disabled = !allowed(kind);
    if (button.disabled && button === active) focused = button;
  }
  if (focused && !focused.disabled) {
    if (document.activeElement === document.body) focused.focus(); // a keyboard user stays where they were
    focused = null;
  }
}

async function act(kind) {
  if (!allowed(kind)) return;
  waiting = true;
  enable();
  try {
    await (kind === "undo" ? undo() : give(kind));
    tell("");
  } catch (error) {
    if (error.status === 409) await refresh().catch(() => {}); // another tab was here first
    tell(`Not saved. ${error.message}`);
  } finally {
    waiting = false;
  }
  await show();
}

async function give(verdict) {
  const { position, picture } = screen;
  const same = unsent && unsent.position === position && unsent.verdict === verdict;
  unsent = same ? unsent : { event_id: crypto.randomUUID(), position, verdict };
  await ask("/api/verdicts", { body: { ...unsent, shown: picture ? position : null } });
  given.push(unsent);
  unsent = null;
}

async function undo() {
  const last = given[given.length - 1];
  await ask("/api/undo", { body: { event_id: `undo-${last.event_id}`, undoes: last.event_id } });
  given.pop();
}

async function refresh() {
  const session = await (await ask("/api/session")).json();
  total = session.total;
  given = session.given;
}

function toggleBox(hide) {
  if (at("overlay").classList.contains("hidden") === hide) return;
  at("overlay").classList.toggle("hidden", hide);
  if (drawn === null) return;
  withdraw(); // without its box an item cannot be judged
  if (!hide) settle();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target instanceof HTMLButtonElement && (event.key === " " || event.key === "Enter")) {
    if (!event.repeat) pressed = screen;
    if (event.repeat && event.key === "Enter") event.preventDefault(); // a repeated key is one verdict
    return; // the browser presses the button
  }
  const key = event.key.toLowerCase();
  if (key === "h") return toggleBox(true);
  if (!(key in KEYS)) return;
  event.preventDefault(); // Space would also scroll
  if (!event.repeat) act(KEYS[key]); // a repeated key is one verdict
});
document.addEventListener("keyup", (event) => {
  if (event.key.toLowerCase() === "h") toggleBox(false);
});
document.addEventListener("pointerdown", () => { pressed = screen; }, true);
window.addEventListener("blur", () => toggleBox(false));
const resized = new ResizeObserver(fit); // the window, the zoom, a font or a message
for (const id of ["stage", "caption"]) resized.observe(at(id));
for (const kind of Object.values(KEYS)) {
  at(kind).addEventListener("mousedown", (event) => event.preventDefault()); // Space after a click is still Skip
  at(kind).addEventListener("click", (event) => {
    const began = pressed === undefined ? screen : pressed;
    pressed = undefined;
    if (kind !== "undo" && (event.detail > 1 || began !== screen)) return; // it began on the item before
    act(kind);
  });
}
refresh().then(show, (error) => tell(error.message));
