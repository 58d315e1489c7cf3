// What surrounds every view: how the receiver is, at a glance, and the ways to the views.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { count, counted, rate, span, zone } from "./text.js";
import { link } from "./route.js";
import { GONE } from "./states.js";
import { notice } from "./parts.js";
import { searchField } from "./view_search.js";

const FEED = {
  live: ["Live", "good"],
  connecting: ["Connecting", "waiting"],
  reconnecting: ["Reconnecting", "bad"],
  token: ["Token needed", "waiting"],
};
const LAG_LATE_S = 10;

export function frame(app, view) {
  return html`
    <a class="skip" href="#main" @click=${toMain}>Skip to the content</a>
    <header class="top">
      <a class="brand" href=${link("fleet")}><img src="board/icon.svg" alt="" width="26" height="26"><span>esc-receiver</span></a>
      ${searchField(app)}
      <div class="vitals" role="group" aria-label="How the receiver is">${vitals(app)}</div>
      ${zoned()}
      <button type="button" class="theme" @click=${app.switchTheme} aria-label="Switch between light and dark" title="Light or dark">◐</button>
    </header>
    <nav class="tabs" aria-label="Views">${tabs(app)}</nav>
    ${app.feed.state === "reconnecting" ? reconnecting(app) : nothing}
    ${warnings(app)}
    <main id="main" tabindex="-1" class="view-${app.route.view}">${view}</main>`;
}

/** Said once for all times on the board. */
function zoned() {
  const { offset, name } = zone();
  return html`<span class="zone" title=${name}>times in ${offset}</span>`;
}

const vital = (label, value, kind, title = nothing) => html`
  <div class="vital ${kind}" title=${title}><span class="label">${label}</span><span class="value">${value}</span></div>`;

function vitals(app) {
  const [feed, feedKind] = FEED[app.feed.state] ?? FEED.connecting;
  const { ready, stats } = app.health;
  const lag = lagOf(app);
  const overdue = app.fleet.openOperations().filter((one) => one.state === "OVERDUE").length;
  const waiting = stats?.quarantine.unacknowledged;
  return [
    vital("Database", databaseOf(app), modeKind(app), why(ready)),
    workers(ready),
    vital("Feed", html`<i class="beat" aria-hidden="true"></i>${feed}`, feedKind),
    vital("Changes", html`${rate(app.fleet.changeRate())}<small>/s</small>`, ""),
    vital("Publish lag", lag.text, lag.kind, lag.title),
    vital("Overdue", count(overdue), overdue ? "bad" : ""),
    vital("Dead letters", count(waiting), waiting ? "waiting" : "", "That nobody has acknowledged"),
  ];
}

/** How many of the workers serve; nothing where there is but one process. */
function workers(ready) {
  const all = Object.entries(ready?.workers ?? {});
  if (!all.length) return nothing;
  const well = all.filter(([, one]) => one.state === "serving" && one.ready).length;
  const each = all.map(([number, one]) => `${number}: ${one.state}, ${one.mode ?? "?"}, started again ${counted(one.restarts, "time")}`);
  return vital("Workers", `${well} of ${all.length}`, well === all.length ? "good" : "waiting", each.join("\n"));
}

const MODES = { direct: "writing directly", spooling: "not reached, spooling", draining: "catching up" };

function databaseOf(app) {
  const { ready, error } = app.health;
  if (error) return "receiver unreachable";
  if (!ready) return "…";
  if (!ready.ready) return "not ready";
  // `spooling: 12 callbacks wait in the spool`; while it is direct, that dependency is well.
  const mode = ready.dependencies?.mode?.why?.split(":")[0] ?? "direct";
  return MODES[mode] ?? mode;
}

function modeKind(app) {
  const { ready, error } = app.health;
  if (error || (ready && !ready.ready)) return "bad";
  return !ready ? "waiting" : ready.dependencies?.mode?.ok === false ? "waiting" : "good";
}

const why = (ready) =>
  ready ? faults(ready).map(([name, told]) => `${name}: ${told.why}`).join("\n") || "Everything answers" : nothing;
const faults = (ready) => Object.entries(ready.dependencies ?? {}).filter(([, told]) => !told.ok);

function lagOf(app) {
  const outbox = app.health.stats?.outbox;
  if (!outbox) return { text: "–", kind: "", title: nothing };
  // As it was when they were counted: what waited then has gone since.
  const late = outbox.oldest_at ? (Date.parse(app.health.stats.at) - Date.parse(outbox.oldest_at)) / 1000 : 0;
  return {
    text: outbox.messages === 0 || late < 1 ? "none" : span(late),
    kind: late > LAG_LATE_S ? "bad" : "good",
    title: `${counted(outbox.messages, "message waits", "messages wait")} to be published`,
  };
}

function tabs(app) {
  const { fleet, health } = app;
  const living = (things) => count(things.reduce((sum, one) => sum + (GONE.has(one.state) ? 0 : 1), 0));
  const views = [
    ["fleet", "Fleet", null],
    ["deployments", "Deployments", living(fleet.allDeployments())],
    ["vms", "VMs", living(fleet.allVms())],
    ["operations", "Operations", count(fleet.openOperations().length)],
    ["resources", "Resources", null],
    ["sources", "Sources", null],
    ["feed", "Feed", null],
    ["quarantine", "Dead letters", health.stats ? count(health.stats.quarantine.unacknowledged) : null],
  ];
  const inside = { vm: "vms", deployment: "deployments", operation: "operations", resource: "resources", callback: "quarantine" };
  const here = inside[app.route.view] ?? app.route.view;
  return views.map(
    ([view, label, number]) => html`
      <a href=${link(view)} aria-current=${here === view ? "page" : nothing}>${label}${number === null ? nothing : html` <span class="count">${number}</span>`}</a>`,
  );
}

function reconnecting(app) {
  return html`<p class="ribbon bad"><i class="spin" aria-hidden="true"></i>
    What you see is from ${span((app.now - app.feed.since) / 1000)} ago: ${app.feed.why}. Trying again, attempt ${app.feed.tries}.
    <button type="button" @click=${app.retry}>Try now</button></p>`;
}

function warnings(app) {
  const { ready } = app.health;
  const told = ready ? [...faults(ready).map(([name, one]) => `${name}: ${one.why}`), ...(ready.warnings ?? [])] : [];
  return [
    app.sync.error && app.feed.state !== "reconnecting"
      ? html`<p class="ribbon bad">The lists could not be read: ${app.sync.error.message}. <button type="button" @click=${app.reload}>Try again</button></p>`
      : nothing,
    told.length ? html`<details class="ribbon waiting"><summary>${told.length === 1 ? told[0] : `${told[0]} (and ${told.length - 1} more)`}</summary>
      <ul>${told.slice(1).map((one) => html`<li>${one}</li>`)}</ul></details>` : nothing,
    app.fleet.truncated ? html`<p class="ribbon waiting">There are more VMs than this page holds: the map and the figures of the fleet are not complete, the lists are.</p>` : nothing,
  ];
}

function toMain(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

/** Asks for the token once; what is typed goes to the session endpoint and nowhere else. */
export function tokenForm(app) {
  return notice(
    "A token is needed",
    "This receiver shows what it knows to those who have a read token. It is asked for once and then kept as a session cookie that scripts cannot read.",
    html`<form class="token" @submit=${app.giveToken}>
      <label for="token">Read token</label>
      <input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
      <button type="submit" ?disabled=${app.token.busy}>Open the board</button>
      ${app.token.error ? html`<p class="wrong" role="alert">${app.token.error}</p>` : nothing}
    </form>`,
    "asking",
  );
}
