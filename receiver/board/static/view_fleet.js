// The wall: the fleet by state, the map of all VMs, what needs a person, what is in flight, what just happened.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { repeat } from "./vendor/lit-html/directives/repeat.js";
import { badge, GONE, mark, tone, VM_STATES } from "./states.js";
import { byState, place } from "./fleet.js";
import { clock, count, counted, name, span } from "./text.js";
import { deploymentLink, link, operationLink, vmLink } from "./route.js";
import { deploymentName, itsDeployment, kindWords, move, notice, operationName, panel, SHORT, short, time, toDeployment, toThing } from "./parts.js";
import { progress } from "./progress.js";
import { askedMoment, pastView, slider } from "./view_past.js";

const ATTENTION_MAX = 12;
const FLIGHT_MAX = 8;
const LATEST_MAX = 12;

export function fleetView(app) {
  const at = askedMoment(app.route);
  if (at) return pastView(app, at);
  const vms = app.fleet.allVms();
  if (vms.length === 0 && app.fleet.deployments.size === 0) return app.sync.done ? empty() : starting(app);
  const counts = byState(vms);
  const living = vms.length - (counts.UNDEPLOYED ?? 0);
  return html`
    <h1 class="spoken">Fleet</h1>
    ${slider(app)}
    ${tiles(app, counts, living)}
    <div class="wall">
      <div class="wall-main">
        ${panel("Every VM", map(app, living), { more: legend(counts), kind: "fleet-map" })}
        ${panel("Changes a second, last ten minutes", html`<div id="pulse" role="img" aria-label="Changes a second over the last ten minutes"></div>`, { kind: "pulse" })}
      </div>
      <div class="wall-side">
        ${attention(app)}
        ${flight(app)}
        ${latest(app)}
      </div>
    </div>`;
}

const empty = () =>
  notice(
    "No deployment yet",
    html`Nothing has called back so far. Give ESC the address <code>${new URL("esc/default/callback", document.baseURI).href}</code>
      as its callback, or play some traffic with <code>esc-receiver simulate</code>: it shows here as it comes.`,
    nothing,
    "empty",
  );

const starting = (app) =>
  html`<div class="notice" aria-busy="true"><div class="bars" aria-hidden="true"><i></i><i></i><i></i></div>
    <p>${app.sync.error ? "Waiting for the receiver …" : "Loading the fleet …"}</p></div>`;

/** The lists are those of now, so nothing leads to them from the past. */
const toVms = (app, asked) => (app.then ? nothing : link("vms", asked));

export function tiles(app, counts, living) {
  const shown = VM_STATES.filter((state) => !GONE.has(state) && (counts[state] || ["ERROR", "ALIVE"].includes(state)));
  const deployments = app.fleet.allDeployments().filter((one) => !GONE.has(one.state));
  return html`
    <div class="tiles" role="list" aria-label="VMs by state">
      <a role="listitem" class="tile total" href=${toVms(app)}><span class="big">${count(living)}</span><span class="of">${living === 1 ? "VM" : "VMs"} in ${counted(deployments.length, "deployment")}</span></a>
      ${shown.map(
        (state) => html`<a role="listitem" class="tile tone-${tone(state)} ${counts[state] ? "" : "none"}" href=${toVms(app, { state })}>
          <span class="big">${count(counts[state] ?? 0)}</span><span class="of">${mark(state)}${state}</span></a>`,
      )}
    </div>
    <div class="share" aria-hidden="true">
      ${shown.filter((state) => counts[state]).map((state) => html`<i class="tone-${tone(state)}" .style=${`flex-grow:${counts[state]}`}></i>`)}
    </div>`;
}

export const legend = (counts) => html`<ul class="legend" aria-label="Legend">
  ${VM_STATES.filter((state) => counts[state] && !GONE.has(state)).map((state) => html`<li>${badge(state)}</li>`)}</ul>`;

export function map(app, living) {
  const open = (event) => {
    const vm = app.map.at(event);
    if (vm) location.hash = vmLink(vm);
  };
  const hover = (event) => {
    const vm = app.map.at(event);
    event.target.style.cursor = vm ? "pointer" : "default";
    event.target.title = vm ? `${name(vm.name)} of ${name(deploymentName(app.fleet, vm.source, vm.deployment))}: ${vm.state}` : "";
  };
  return html`<canvas id="map" role="img" aria-label="Map of ${counted(living, "VM")}; the VMs view lists the same" @click=${open} @mousemove=${hover}></canvas>`;
}

export function attention(app) {
  const found = needing(app);
  const body = found.length
    ? html`<ul class="list">${repeat(found.slice(0, ATTENTION_MAX), (one) => one.key, (one) => html`
        <li><a href=${one.href}>${mark(one.state)}<span class="grow">${one.label}<small>${one.why}</small></span></a>${time(one.at, app.now)}</li>`)}</ul>
        ${found.length > ATTENTION_MAX ? html`<p class="more"><a href=${toVms(app, { state: "ERROR" })}>and ${count(found.length - ATTENTION_MAX)} more</a></p>` : nothing}`
    : html`<p class="calm">${mark("ALIVE")} Nothing needs a person.</p>`;
  return panel("Needs attention", body, { more: html`<span class="count">${count(found.length)}</span>`, kind: "attention" });
}

function needing(app) {
  const { fleet } = app;
  const vms = fleet.allVms().filter((vm) => vm.state === "ERROR" || vm.manual).map((vm) => ({
    key: vm.id, state: vm.state, label: short(vm.name), href: vmLink(vm), at: vm.at,
    why: vm.manual ? "waits for recovery by hand" : (vm.reason ?? `in ${name(deploymentName(fleet, vm.source, vm.deployment), 40)}`),
  }));
  const deployments = fleet.allDeployments().filter((one) => one.state === "ERROR" || one.leak).map((one) => ({
    key: place(one.source, one.id), state: "ERROR", label: short(deploymentName(fleet, one.source, one.id)), href: deploymentLink(one.source, one.id), at: one.at,
    why: one.leak ? "something may be left in the VIM" : "deployment in ERROR",
  }));
  const overdue = fleet.openOperations().filter((one) => one.state === "OVERDUE").map((one) => ({
    key: one.id, state: "OVERDUE", label: operationName(one.kind, one.transaction_id), at: one.last_seen_at,
    href: operationLink(one.source, one.transaction_id), why: "its end does not come",
  }));
  return [...overdue, ...deployments, ...vms].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
}

export function flight(app) {
  const open = app.fleet.openOperations().sort((a, b) => Date.parse(a.first_seen_at) - Date.parse(b.first_seen_at));
  const body = open.length
    ? html`<ul class="list">${repeat(open.slice(0, FLIGHT_MAX), (one) => one.id, (one) => html`
        <li><a href=${operationLink(one.source, one.transaction_id)}>${mark(one.state)}<span class="grow">${kindWords(one.kind)} ${one.deployment ? short(deploymentName(app.fleet, one.source, one.deployment)) : nothing} <code class="dim"><bdi>${name(one.transaction_id, SHORT)}</bdi></code></span></a>
          ${progress(one)}<span class="age">${span((app.now - Date.parse(one.first_seen_at)) / 1000)}</span></li>`)}</ul>
        ${open.length > FLIGHT_MAX ? html`<p class="more"><a href=${link("operations", { state: "OPEN" })}>and ${count(open.length - FLIGHT_MAX)} more</a></p>` : nothing}`
    : html`<p class="calm">No operation is under way.</p>`;
  return panel("Operations in flight", body, { more: html`<span class="count">${count(open.length)}</span>`, kind: "flight" });
}

const change = (fleet, one) => html`<li class="change"><time datetime=${one.at}>${clock(one.at)}</time>
  <span class="grow dim">${one.entity}${itsDeployment(one) ? html` of ${toDeployment(fleet, one.source, one.deployment)}` : nothing}</span>
  <span class="move">${move(one)}</span><span class="grow thing">${toThing(fleet, one)}</span></li>`;

export const latest = (app) =>
  panel(
    "Latest changes",
    app.fleet.changes.length
      ? html`<ul class="list changes">${repeat(app.fleet.latest(LATEST_MAX), (one) => one.id, (one) => change(app.fleet, one))}</ul>`
      : html`<p class="calm">The ledger has no entry yet.</p>`,
    { more: html`<a class="count" href=${link("feed")}>feed</a>`, kind: "latest" },
  );
