// The long lists: deployments, VMs, operations, each searchable and filtered by what stands in the address.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge, DEPLOYMENT_STATES, GONE, mark, rank, VM_STATES } from "./states.js";
import { place } from "./fleet.js";
import { count, span } from "./text.js";
import { deploymentLink, link, operationLink, vmLink } from "./route.js";
import { choose, code, deploymentName, distinct, loading, matcher, notice, search, text, tick, time, toDeployment } from "./parts.js";
import { progress } from "./view_fleet.js";

const ORDERS = {
  state: (a, b) => rank(a.state) - rank(b.state),
  changed: (a, b) => Date.parse(b.at) - Date.parse(a.at),
};

function listView(app, { title, all, keys, filters, hidden = () => false, ...table }) {
  const { asked } = app.route;
  const matches = matcher(asked, keys);
  let items = all.filter((one) => matches(one) && !hidden(one));
  if (ORDERS[asked.order]) items = items.sort(ORDERS[asked.order]);
  const plural = title === "VMs" ? title : title.toLowerCase();
  const none = app.sync.done
    ? notice(all.length ? "Nothing matches" : `No ${plural} yet`, all.length ? "Loosen the filters above." : "They show here as soon as something calls back.", all.length ? html`<a class="button" href=${link(app.route.view)}>Clear filters</a>` : nothing, "empty")
    : loading(plural);
  return html`
    <div class="bar-of-filters" role="search">
      <h1>${title} <span class="count" aria-label="${items.length} shown">${count(items.length)}</span></h1>
      ${search(asked, `Search ${plural}`)}
      ${filters}
    </div>
    ${app.rows.table({ key: `${app.route.view}?${asked.state ?? ""}`, label: title, items, height: app.narrow ? 64 : 38, empty: none, ...table })}`;
}

const orders = (asked) => choose(asked, "order", "Order", ["state", "changed"], "name");

export function vmsView(app) {
  const { fleet, route } = app;
  const all = fleet.allVms();
  return listView(app, {
    title: "VMs",
    all,
    keys: ["state", "source", "tenant", "deployment"],
    hidden: (vm) => GONE.has(vm.state) && route.asked.state !== vm.state && route.asked.gone !== "1",
    id: (vm) => vm.id,
    filters: html`
      ${choose(route.asked, "state", "State", VM_STATES)}
      ${choose(route.asked, "source", "Source", distinct(all, "source"))}
      ${choose(route.asked, "tenant", "Tenant", distinct(all, "tenant"))}
      ${orders(route.asked)} ${tick(route.asked, "gone", "gone too")}`,
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

export const vmFlags = (vm) => html`
  ${vm.manual ? html`<span class="flag bad">by hand</span>` : nothing}
  ${vm.recovering && vm.state !== "RECOVERING" ? html`<span class="flag">in recovery</span>` : nothing}
  ${vm.monitored === false ? html`<span class="flag">not monitored</span>` : nothing}`;

export function deploymentsView(app) {
  const { fleet, route } = app;
  const all = fleet.allDeployments();
  const mixes = mixOfAll(fleet);
  return listView(app, {
    title: "Deployments",
    all,
    keys: ["state", "source", "tenant"],
    hidden: (one) => GONE.has(one.state) && route.asked.state !== one.state && route.asked.gone !== "1",
    id: (one) => place(one.source, one.id),
    filters: html`
      ${choose(route.asked, "state", "State", DEPLOYMENT_STATES)}
      ${choose(route.asked, "source", "Source", distinct(all, "source"))}
      ${choose(route.asked, "tenant", "Tenant", distinct(all, "tenant"))}
      ${orders(route.asked)} ${tick(route.asked, "gone", "gone too")}`,
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
  const all = [...fleet.operations.values()].sort((a, b) => Date.parse(b.first_seen_at) - Date.parse(a.first_seen_at));
  const open = all.filter((one) => one.state === "OPEN" || one.state === "OVERDUE");
  const ended = all.filter((one) => !open.includes(one));
  return listView(app, {
    title: "Operations",
    all: [...open, ...ended],
    keys: ["state", "source", "kind"],
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
