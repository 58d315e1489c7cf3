// The board: wires what is known to what is shown, and draws it at most once a frame, and ten times a second while
// much happens. All state is in `app`; views are functions of it.
import { html, render } from "./vendor/lit-html/lit-html.js";
import { login, Problem } from "./api.js";
import { Cache } from "./cache.js";
import { Desk } from "./desk.js";
import { Exports } from "./export.js";
import { Feed } from "./feed.js";
import { Fleet } from "./fleet.js";
import { frame, tokenForm } from "./frame.js";
import { FleetMap } from "./map.js";
import { deploymentName, failed, notice } from "./parts.js";
import { Past } from "./past.js";
import { Pulse } from "./pulse.js";
import { link, read } from "./route.js";
import { Rows } from "./rows.js";
import { ServerLists } from "./server_list.js";
import { LedgerList } from "./ledger_list.js";
import { readAll, readChanged, readHealth, readOpen } from "./sync.js";
import { Spoken } from "./spoken.js";
import { name } from "./text.js";
import { deploymentView } from "./view_deployment.js";
import { fleetView } from "./view_fleet.js";
import { FEED_SHOWN, feedView } from "./view_feed.js";
import { deadLettersView } from "./view_dead_letters.js";
import { callbackView } from "./view_happened.js";
import { deploymentsView, operationsView, resourcesView, vmsView } from "./view_lists.js";
import { operationView } from "./view_operation.js";
import { askedMoment } from "./view_past.js";
import { resourceView } from "./view_resource.js";
import { onSlash, searchView } from "./view_search.js";
import { sourcesView } from "./view_sources.js";
import { vmView } from "./view_vm.js";

const FRAME_MS = 100; // between drawings of what came by itself
const REST = 6; // times as long as drawing takes: what is left to the reader and to the rest of the machine
const MAP_MS = 500; // between drawings of a large map
const MAP_LARGE = 2_000;
const CLOCK_MS = 1_000;
const HEALTH_MS = 3_000;
const OPEN_MS = 3_000;
const CHANGED_MS = 10_000;
const OPENED_MAX = 50;

const VIEWS = {
  fleet: fleetView, deployments: deploymentsView, vms: vmsView, operations: operationsView, resources: resourcesView, feed: feedView,
  quarantine: deadLettersView, sources: sourcesView, vm: vmView, deployment: deploymentView,
  operation: operationView, resource: resourceView, callback: callbackView,
  search: searchView,
};
const TITLES = { vms: "VMs", vm: "VM", quarantine: "Dead letters" };

const root = document.getElementById("board");
const spoken = new Spoken(document.getElementById("spoken"));
let due = null;
let drawnAt = 0;
let drawingMs = 0;
let mappedAt = 0;

/** Draw soon: at the next frame when a person waits for it, else when enough time has passed. */
function schedule(atOnce = false) {
  if (due === "frame" || (due && !atOnce)) return;
  const wait = atOnce ? 0 : drawnAt + Math.max(FRAME_MS, REST * drawingMs) - performance.now();
  if (due) clearTimeout(due);
  if (wait > 4) {
    due = setTimeout(() => ((due = "frame"), requestAnimationFrame(draw)), wait);
    return;
  }
  due = "frame";
  requestAnimationFrame(draw);
}

const soon = () => schedule(true);

const cache = new Cache(soon);

const app = {
  fleet: new Fleet(), map: new FleetMap(), pulse: new Pulse(), rows: new Rows(schedule), cache, lists: new ServerLists(cache, soon),
  route: read(), now: Date.now(), feed: { state: "connecting", since: Date.now() }, health: {},
  sync: { done: false, error: null, running: false }, token: { needed: false, busy: false, error: null },
  paused: null, opened: new Set(), width: 1000, narrow: false, ledger: new LedgerList(schedule), past: new Past(soon), exports: new Exports(soon), desk: new Desk(() => changedByHand(), soon), feedShown: FEED_SHOWN,
  retry: () => feed.resume(),
  reload: () => readEverything(),
  pause: () => {
    app.paused = app.paused ? null : { ...app.ledger };
    soon();
  },
  showMore: () => {
    app.feedShown += FEED_SHOWN;
    soon();
  },
  open: (key, opened) => {
    if (opened === app.opened.has(key)) return;
    if (opened) app.opened.add(key);
    else app.opened.delete(key);
    if (app.opened.size > OPENED_MAX) app.opened.delete(app.opened.values().next().value);
    soon();
  },
  switchTheme, giveToken,
};

const feed = new Feed({
  onEvent: (change) => {
    app.fleet.take(change);
    app.ledger.take(change);
    if (change.entity === "source") app.cache.renew("sources");
    spoken.take(change);
    schedule();
  },
  onState: feedState,
  onGap: () => {
    app.ledger.renew();
    readEverything(true);
  },
});

function draw() {
  due = null;
  const startedAt = performance.now();
  app.now = Date.now();
  const view = VIEWS[app.route.view];
  render(frame(app, app.token.needed ? tokenForm(app) : view ? shown(view) : lost()), root);
  const width = document.getElementById("main").clientWidth;
  const narrow = innerWidth < 720;
  if (width !== app.width || narrow !== app.narrow) {
    app.width = width;
    app.narrow = narrow;
    soon();
  }
  app.rows.measure(root);
  app.fleet.tick();
  app.pulse.show(document.getElementById("pulse"), app.fleet.pulse, app.fleet.pulseAt);
  drawMap(document.getElementById("map"));
  drawnAt = performance.now();
  drawingMs = Math.min(500, drawnAt - startedAt);
}

function drawMap(canvas) {
  if (!canvas) {
    mappedAt = 0;
    return;
  }
  const fleet = askedMoment(app.route) ? app.past.fleet : app.fleet;
  if (!fleet || (fleet.vms.size > MAP_LARGE && performance.now() - mappedAt < MAP_MS)) return;
  mappedAt = performance.now();
  app.map.draw(canvas, fleet.allVms(), (vm) => name(deploymentName(fleet, vm.source, vm.deployment), 40));
}

/** A view that fails must not take the rest of the board with it. */
function shown(view) {
  try {
    return view(app);
  } catch (error) {
    console.error(error);
    return failed(new Problem(0, "This view failed", String(error)), soon);
  }
}

const lost = () => notice("There is no such view", "The link may be of another version.", html`<a class="button" href=${link("fleet")}>To the fleet</a>`);

// The feed and the lists.

function feedState(told) {
  const before = app.feed.state;
  const broken = told.state === "reconnecting" && before !== "reconnecting";
  app.feed = { ...told, since: broken || told.state !== "reconnecting" ? Date.now() : app.feed.since };
  if (told.state === "token") needToken();
  if (told.state === "live" && !app.sync.done) readEverything();
  if (told.state === "live" && app.ledger.error) app.ledger.renew();
  if (told.state === "live" && before === "reconnecting") spoken.say("The feed is live again.");
  if (broken && before === "live") spoken.say("The feed is lost; reconnecting.");
  soon();
}

async function readEverything(anew = false) {
  if (app.sync.running) return;
  app.sync = { ...app.sync, running: true, error: null };
  try {
    if (anew) app.fleet.forget();
    await readAll(app.fleet, schedule);
    app.sync = { done: true, error: null, running: false };
  } catch (error) {
    app.sync = { ...app.sync, error, running: false };
    if (error.status === 401) needToken();
    else if (!app.sync.done) setTimeout(readEverything, 3_000);
  }
  soon();
}

function needToken() {
  if (app.token.needed) return;
  app.token = { needed: true, busy: false, error: null };
  soon();
}

async function giveToken(event) {
  event.preventDefault();
  const field = event.target.elements.token;
  app.token = { ...app.token, busy: true, error: null };
  soon();
  try {
    await login(field.value);
    field.value = "";
    app.token = { needed: false, busy: false, error: null };
    app.cache.clear();
    app.past.forget();
    app.ledger.renew();
    feed.resume();
    readEverything();
  } catch (error) {
    app.token = { needed: true, busy: false, error: error.status === 401 ? "This token is not known here." : error.message };
  }
  soon();
}

// What the feed does not tell is asked for again and again, while somebody looks.

function every(ms, ask) {
  const turn = async () => {
    if (!document.hidden && !app.token.needed) {
      try {
        await ask();
      } catch (error) {
        if (error.status === 401) needToken();
      }
      schedule();
    }
    setTimeout(turn, ms);
  };
  turn();
}

async function askHealth() {
  try {
    app.health = await readHealth();
  } catch (error) {
    app.health = { ...app.health, error };
    throw error;
  }
}

/** What is shown of dead letters and figures is old now. */
function changedByHand() {
  cache.renewAll("quarantine", "callbacks", "callback");
  askHealth().catch(() => {});
}

async function askOpen() {
  if (!app.sync.done) return;
  if (app.route.view === "sources") app.cache.renewAll("sources", "webhooks");
  if (["fleet", "operations", "operation"].includes(app.route.view)) await readOpen(app.fleet);
}

let changedSince = Date.now();
async function askChanged() {
  if (!app.sync.done) return;
  const since = changedSince - 2 * CHANGED_MS;
  changedSince = Date.now();
  await readChanged(app.fleet, since);
}

// The reader.

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("esc-receiver-theme", next);
  } catch {
    // No storage for this page: then the choice lasts as long as the page.
  }
  recoloured();
}

function recoloured() {
  mappedAt = 0;
  app.map.repaint();
  app.pulse.drop();
  soon();
}

function routed() {
  const before = app.route;
  app.route = read();
  const moved = before.view !== app.route.view || ["vm", "deployment", "operation", "resource", "callback"].includes(app.route.view);
  const { view, asked } = app.route;
  document.title = `${asked.name ?? asked.id ?? TITLES[view] ?? view[0].toUpperCase() + view.slice(1)} · esc-receiver`;
  if (moved && before.view !== view) document.getElementById("main")?.scrollTo(0, 0);
  soon();
}

addEventListener("hashchange", routed);
addEventListener("resize", soon);
addEventListener("keydown", onSlash);
addEventListener("online", () => feed.resume());
document.addEventListener("visibilitychange", soon);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recoloured);

root.replaceChildren();
routed();
draw();
feed.run();
every(CLOCK_MS, async () => {});
every(HEALTH_MS, askHealth);
every(OPEN_MS, askOpen);
every(CHANGED_MS, askChanged);
