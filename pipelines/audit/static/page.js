// The review page. Text is only ever set with textContent; a verdict is shown as given once the server has it on disk.
"use strict";

const KEYS = { a: "accept", x: "reject", " ": "skip", z: "undo" };
const TOKEN = takeToken();
const at = (id) => document.getElementById(id);
const ready = new Map(); // position -> promise of {item, url}
let total = 0;
let given = []; // verdicts that stand, in order: {position, verdict, event_id}
let current = null;
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

async function ask(path, body) {
  const headers = { "X-Groundswell-Token": TOKEN };
  const options = body === undefined
    ? { headers }
    : { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is `groundswell audit serve` still running?");
  }
  if (answer.ok) return answer;
  const detail = await answer.json().catch(() => ({}));
  const error = new Error(detail.error || `The server answered ${answer.status}.`);
  error.status = answer.status;
  throw error;
}

function load(position) {
  if (!ready.has(position)) {
    const both = Promise.all([
      ask(`/api/items/${position}`).then((answer) => answer.json()),
      ask(`/api/images/${position}`).then((answer) => answer.blob()).then(decoded),
    ]).then(([item, url]) => ({ item, url }));
    both.catch(() => ready.delete(position));
    ready.set(position, both);
  }
  return ready.get(position);
}

async function decoded(blob) {
  const url = URL.createObjectURL(blob);
  const image = new Image();
  image.src = url;
  await image.decode();
  return url;
}

function forget(keep) {
  for (const [position, both] of ready) {
    if (keep.includes(position)) continue;
    ready.delete(position);
    both.then(({ url }) => URL.revokeObjectURL(url), () => {});
  }
}

function open() {
  const done = new Set(given.map((one) => one.position));
  return Array.from({ length: total }, (_, position) => position).filter((position) => !done.has(position));
}

async function show() {
  const [position, ...later] = open();
  showProgress();
  at("task").hidden = position === undefined;
  at("end").hidden = position !== undefined;
  current = position === undefined ? null : position;
  if (current === null) return showEnd();
  const next = later.slice(0, 2);
  next.forEach((soon) => load(soon).catch(() => {})); // its own turn will tell the trouble
  forget([position, ...next, ...given.slice(-1).map((one) => one.position)]);
  try {
    const { item, url } = await load(position);
    if (current === position) draw(item, url);
  } catch (error) {
    if (current !== position) return;
    at("frame").hidden = true;
    at("asked").textContent = "";
    tell(`${error.message}`);
  }
}

function draw(item, url) {
  at("frame").hidden = false;
  at("image").src = url;
  fit(item);
  const [x0, y0, x1, y1] = item.box;
  at("overlay").setAttribute("viewBox", `0 0 ${item.width} ${item.height}`);
  for (const rect of at("overlay").children) {
    for (const [name, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) {
      rect.setAttribute(name, value);
    }
  }
  at("asked").textContent = item.phrase;
  at("before").textContent = item.before;
  at("phrase").textContent = item.phrase;
  at("after").textContent = item.after;
  at("frame").dataset.position = current;
}

// The image fills the stage, at most eightfold: a small picture is not a small task.
function fit(item) {
  const stage = at("stage");
  const scale = Math.min(stage.clientWidth / item.width, stage.clientHeight / item.height, 8);
  at("frame").style.width = `${Math.floor(item.width * scale)}px`;
  at("frame").style.height = `${Math.floor(item.height * scale)}px`;
}

function showProgress() {
  at("bar").max = Math.max(total, 1);
  at("bar").value = given.length;
  at("count").textContent = `${given.length} of ${total}`;
  at("undo").disabled = given.length === 0;
  for (const id of ["accept", "reject", "skip"]) at(id).disabled = given.length >= total;
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

async function act(kind) {
  if (waiting || (kind === "undo" ? given.length === 0 : current === null)) return;
  waiting = true;
  try {
    await (kind === "undo" ? undo() : give(kind));
    tell("");
  } catch (error) {
    if (error.status === 409) await refresh(); // another tab was here first
    tell(`Not saved. ${error.message}`);
  } finally {
    waiting = false;
  }
  await show();
}

async function give(verdict) {
  const same = unsent && unsent.position === current && unsent.verdict === verdict;
  unsent = same ? unsent : { event_id: crypto.randomUUID(), position: current, verdict };
  await ask("/api/verdicts", unsent);
  given.push(unsent);
  unsent = null;
}

async function undo() {
  const last = given[given.length - 1];
  await ask("/api/undo", { event_id: `undo-${last.event_id}`, undoes: last.event_id });
  given.pop();
}

async function refresh() {
  const session = await (await ask("/api/session")).json();
  total = session.total;
  given = session.given;
}

function toggleBox(hide) {
  at("overlay").classList.toggle("hidden", hide);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const key = event.key.toLowerCase();
  if (key === "h") return toggleBox(true);
  if (!(key in KEYS)) return;
  event.preventDefault(); // Space would also press the focused button, or scroll
  if (!event.repeat) act(KEYS[key]); // a key held down is one verdict
});
document.addEventListener("keyup", (event) => {
  if (event.key.toLowerCase() === "h") toggleBox(false);
});
window.addEventListener("blur", () => toggleBox(false));
window.addEventListener("resize", () => {
  if (current !== null && ready.has(current)) ready.get(current).then(({ item }) => fit(item), () => {});
});
for (const kind of Object.values(KEYS)) {
  at(kind).addEventListener("click", () => act(kind));
}
refresh().then(show, (error) => tell(error.message));
