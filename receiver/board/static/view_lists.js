// The long lists: deployments, VMs, operations, each searchable and filtered by what stands in the address. VMs and
// deployments that are there now are held by the board; operations, and what is gone, the receiver looks for.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge, DEPLOYMENT_STATES, GONE, mark, rank, VM_STATES } from "./states.js";
import { place } from "./fleet.js";
import { count, span } from "./text.js";
import { deploymentLink, link, operationLink, vmLink } from "./route.js";
import { choose, code, deploymentName, distinct, failed, loading, matcher, notice, search, text, tick, time, toDeployment } from "./parts.js";
import { progress } from "./view_fleet.js";

const ORDERS = {
  state: (a, b) => rank(a.state) - rank(b.state),
  changed: (a, b) => Date.parse(b.at) - Date.parse(a.at),
};

const TOTAL_MAX = 10_000; // more are not counted by the receiver

/** Of what the board holds. */
function held(app, all, keys) {
  const { asked } = app.route;
  const matches = matcher(asked, keys);
  const items = all.filter((one) => matches(one) && (!GONE.has(one.state) || one.state === asked.state));
  if (ORDERS[asked.order]) items.sort(ORDERS[asked.order]);
  return { items: app.sync.done || items.length ? items : undefined, total: items.length, more: null };
}

/** Of what the receiver has; `take` makes of an item what the columns show. */
function looked(app, list, keys, take, more = {}) {
  const { asked } = app.route;
  const filters = Object.fromEntries(["q", ...keys].map((key) => [key, asked[key]]));
  const found = app.lists.read(list, { ...filters, ...more }, app.now);
  return { ...found, items: found.items?.map(take) };
}

const isFiltered = (asked) => Object.entries(asked).some(([key, value]) => value && key !== "order");

function listView(app, { title, found, filters, ...table }) {
  const { asked } = app.route;
  const { items, total, error, again, more } = found;
  const plural = title === "VMs" ? title : title.toLowerCase();
  const all = total > TOTAL_MAX ? `more than ${count(TOTAL_MAX)}` : count(total);
  const none = items
    ? notice(isFiltered(asked) ? "Nothing matches" : `No ${plural} yet`, isFiltered(asked) ? "Loosen the filters above." : "They show here as soon as something calls back.", isFiltered(asked) ? html`<a class="button" href=${link(app.route.view)}>Clear filters</a>` : nothing, "empty")
    : error ? failed(error, again) : loading(plural);
  return html`
    <div class="bar-of-filters" role="search">
      <h1>${title} <span class="count">${items ? all : ""}</span></h1>
      ${search(asked, `Search ${plural}`)}
      ${filters}
      ${items && items.length < total ? html`<span class="hint">the first ${count(items.length)} of ${all}</span>` : nothing}
      ${more ? html`<button type="button" @click=${more}>Show more</button>` : nothing}
    </div>
    ${app.rows.table({ key: `${app.route.view}?${asked.state ?? ""}`, label: title, items: items ?? [], height: app.narrow ? 64 : 38, empty: none, ...table })}`;
}

/** Whether what is asked for is more than the board holds: what is gone, or more than it can hold. */
const isBeyond = (app) => app.route.asked.gone === "1" || GONE.has(app.route.asked.state) || app.fleet.truncated;
const present = (asked, states) => (asked.state || asked.gone === "1" ? {} : { state: states.filter((state) => !GONE.has(state)) });

const orders = (asked) => choose(asked, "order", "Order", ["state", "changed"], "name");

export function vmsView(app) {
  const { fleet, route } = app;
  const all = fleet.allVms();
  const keys = ["state", "source", "tenant", "deployment"];
  const beyond = isBeyond(app);
  return listView(app, {
    title: "VMs",
    found: beyond ? looked(app, "vms", keys, toVm, present(route.asked, VM_STATES)) : held(app, all, keys),
    id: (vm) => vm.id,
    filters: html`
      ${choose(route.asked, "state", "State", VM_STATES)}
      ${choose(route.asked, "source", "Source", distinct(all, "source"))}
      ${choose(route.asked, "tenant", "Tenant", distinct(all, "tenant"))}
      ${beyond ? nothing : orders(route.asked)} ${tick(route.asked, "gone", "gone too")}`,
    columns: [
      { label: "VM", kind: "main", cell: (vm) => html`<a class="cover" href=${vmLink(vm)}>${text(vm.name, 60)}</a>` },
      { label: "State", kind: "state", cell: (vm) => html`${badge(vm.state)}${vmFlags(vm)}` },
      { label: "Deployment", kind: "wide", cell: (vm) => text(deploymentName(fleet, vm.source, vm.deployment), 44) },
      { label: "Host", kind: "extra", cell: (vm) => text(vm.host, 30) },
      { label: "Source", kind: "extra", cell: (vm) => text(vm.source, 20) },
      { label: "Since", kind: "time", cell: (vm) => time(vm.at, app.now) },
    ],
  });
}

const toVm = (item) => ({
  id: item.id, source: item.source, deployment: item.deployment, name: item.vm_name, state: item.state, host: item.host_name,
  at: item.changed_at, manual: item.needs_manual_recovery, recovering: item.recovery_open, monitored: item.monitored,
});

export const vmFlags = (vm) => html`
  ${vm.manual ? html`<span class="flag bad">by hand</span>` : nothing}
  ${vm.recovering && vm.state !== "RECOVERING" ? html`<span class="flag">in recovery</span>` : nothing}
  ${vm.monitored === false ? html`<span class="flag">not monitored</span>` : nothing}`;

export function deploymentsView(app) {
  const { fleet, route } = app;
  const all = fleet.allDeployments();
  const mixes = mixOfAll(fleet);
  const keys = ["state", "source", "tenant"];
  const beyond = isBeyond(app);
  return listView(app, {
    title: "Deployments",
    found: beyond
      ? looked(app, "deployments", keys, toDeploymentRow, { current: true, ...present(route.asked, DEPLOYMENT_STATES) })
      : held(app, all, keys),
    id: (one) => place(one.source, one.id),
    filters: html`
      ${choose(route.asked, "state", "State", DEPLOYMENT_STATES)}
      ${choose(route.asked, "source", "Source", distinct(all, "source"))}
      ${choose(route.asked, "tenant", "Tenant", distinct(all, "tenant"))}
      ${beyond ? nothing : orders(route.asked)} ${tick(route.asked, "gone", "gone too")}`,
    columns: [
      { label: "Deployment", kind: "main", cell: (one) => html`<a class="cover" href=${deploymentLink(one.source, one.id)}>${text(one.label ?? one.id, 60)}</a>` },
      { label: "State", kind: "state", cell: (one) => html`${badge(one.state)}${deploymentFlags(one)}` },
      { label: "VMs", kind: "wide", cell: (one) => mix(mixes.get(place(one.source, one.id))) },
      { label: "Tenant", kind: "extra", cell: (one) => text(one.tenant, 30) },
      { label: "Source", kind: "extra", cell: (one) => text(one.source, 20) },
      { label: "Since", kind: "time", cell: (one) => time(one.at, app.now) },
    ],
  });
}

const toDeploymentRow = (item) => ({
  id: item.internal_deployment_id, source: item.source, label: item.deployment_name, state: item.state, tenant: item.tenant,
  at: item.changed_at, degraded: item.degraded, leak: item.vim_leak_suspected,
});

export const deploymentFlags = (one) => html`
  ${one.degraded ? html`<span class="flag bad">degraded</span>` : nothing}
  ${one.leak ? html`<span class="flag bad">leak in VIM?</span>` : nothing}`;

function mixOfAll(fleet) {
  const mixes = new Map();
  for (const vm of fleet.vms.values()) {
    if (GONE.has(vm.state)) continue;
    const key = place(vm.source, vm.deployment);
    const counts = mixes.get(key) ?? {};
    counts[vm.state] = (counts[vm.state] ?? 0) + 1;
    mixes.set(key, counts);
  }
  return mixes;
}

/** How many VMs in which state, as shapes with numbers. */
export function mix(counts) {
  const states = Object.keys(counts ?? {}).filter((state) => counts[state]).sort((a, b) => rank(a) - rank(b));
  if (!states.length) return html`<span class="dim">none</span>`;
  return html`<span class="mix">${states.map((state) => html`<span class="badge" title=${state}>${mark(state)}${count(counts[state])}<span class="spoken"> ${state}</span></span>`)}</span>`;
}

export function operationsView(app) {
  const { fleet, route } = app;
  const all = [...fleet.operations.values(), { source: route.asked.source, kind: route.asked.kind }];
  return listView(app, {
    title: "Operations",
    found: looked(app, "operations", ["state", "source", "kind"], (item) => item, { order: "newest" }),
    id: (one) => one.id,
    filters: html`
      ${choose(route.asked, "state", "State", ["OPEN", "OVERDUE", "SUCCEEDED", "FAILED", "CANCELLED"])}
      ${choose(route.asked, "kind", "Kind", distinct(all, "kind"))}
      ${choose(route.asked, "source", "Source", distinct(all, "source"))}`,
    columns: [
      { label: "Operation", kind: "main", cell: (one) => html`<a class="cover" href=${operationLink(one.source, one.transaction_id)}><span>${one.kind || "operation"}</span> ${code(one.transaction_id, 40)}</a>` },
      { label: "State", kind: "state", cell: (one) => html`${badge(one.state)}${one.revised ? html`<span class="flag">revised</span>` : nothing}` },
      { label: "Progress", kind: "wide", cell: (one) => html`${progress(one)}` },
      { label: "Deployment", kind: "extra", cell: (one) => toDeployment(one.source, one.deployment, deploymentName(fleet, one.source, one.deployment)) },
      { label: "Took", kind: "extra", cell: (one) => span((Date.parse(one.ended_at ?? new Date(app.now).toISOString()) - Date.parse(one.first_seen_at)) / 1000) },
      { label: "Started", kind: "time", cell: (one) => time(one.first_seen_at, app.now) },
    ],
  });
}
