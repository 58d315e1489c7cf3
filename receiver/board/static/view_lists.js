// The long lists: deployments, VMs, operations, resources, each filtered, searched and paged by the receiver by what stands
// in the address; what the feed has told since is laid over them.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { badge, DEPLOYMENT_STATES, GONE, mark, OPERATION_KINDS, rank, RESOURCE_STATES, VM_STATES } from "./states.js";
import { place } from "./fleet.js";
import { count, name, span } from "./text.js";
import { change, deploymentLink, link, operationLink, resourceLink, vmLink } from "./route.js";
import { chip, choose, deploymentName, distinct, failed, inAll, loading, notice, operationName, search, short, text, tick, time, toDeployment } from "./parts.js";
import { renewal } from "./server_list.js";
import { pace, progress } from "./progress.js";

/** What the receiver has of a list that passes the filters in the address. */
function looked(app, list, keys, more = {}) {
  const { asked } = app.route;
  const filters = Object.fromEntries(["q", ...keys].map((key) => [key, asked[key]]));
  const order = asked.order === "newest" ? "newest" : null;
  const question = { ...filters, order, ...more };
  return { ...app.lists.read(list, question, renewal(app.now)), save: app.exports.buttons(list, question) };
}

const isFiltered = (asked) => Object.entries(asked).some(([key, value]) => value && key !== "order");

function listView(app, { title, found, filters, ...table }) {
  const { asked } = app.route;
  const { items, total, next, error, again, more } = found;
  const plural = title === "VMs" ? title : title.toLowerCase();
  return html`
    <div class="bar-of-filters" role="search">
      <h1>${title} <span class="count">${inAll(found)}</span></h1>
      ${search(asked, `Search ${plural}`)}
      ${filters}
      ${["deployment", "ref"].map((key) => (asked[key] ? chip(key, key === "deployment" && asked.source ? deploymentName(app.fleet, asked.source, asked[key]) : asked[key]) : nothing))}
      ${items && next ? html`<span class="hint">the first ${count(items.length)} of ${inAll(found)}${more ? "" : ": filter to see others"}</span>` : nothing}
      ${more ? html`<button type="button" @click=${more}>Show more</button>` : nothing}
      ${found.save}
      ${items && error ? html`<span class="hint wrong" role="alert">This is old: ${error.message}</span>` : nothing}
    </div>
    ${app.rows.table({
      key: `${app.route.view}?${asked.state ?? ""}`, label: title, items: items ?? [], height: app.narrow ? 64 : 38,
      empty: items ? none(app, plural) : error ? failed(error, again) : loading(plural), ...table,
    })}`;
}

/** Nothing passes the filters. It says what was looked at: what is gone has to be asked for. */
function none(app, plural) {
  const { asked, view } = app.route;
  const clear = html`<a class="button" href=${link(view)}>Clear filters</a>`;
  if (isPresent(asked) && view in GOING && isFiltered(asked)) {
    const among = () => change({ gone: "1" });
    return notice("Nothing matches", `Only ${plural} that are there were looked through.`, html`<button type="button" @click=${among}>Look among those gone, too</button> ${clear}`, "empty");
  }
  if (isFiltered(asked)) return notice("Nothing matches", `All ${plural} were looked through.`, clear, "empty");
  return notice(`No ${plural} yet`, "They show here as soon as something calls back.", nothing, "empty");
}

/** The states of what is there, of things that go. */
const GOING = { deployments: DEPLOYMENT_STATES, vms: VM_STATES, resources: RESOURCE_STATES };
const isPresent = (asked) => !asked.state && asked.gone !== "1";
const present = (asked, states) => (isPresent(asked) ? { state: states.filter((state) => !GONE.has(state)) } : {});
const orders = (asked) => choose(asked, "order", "Order", [["newest", "last change"]], "name");

/** What the feed has told since of a thing on a list. */
const overtaken = (item, known) =>
  known && known.sequence > item.sequence ? { ...item, state: known.state, changed_at: known.at ?? item.changed_at } : item;

export function vmsView(app) {
  const { fleet, route } = app;
  const found = looked(app, "vms", ["state", "source", "tenant", "deployment"], present(route.asked, VM_STATES));
  const all = fleet.allVms();
  return listView(app, {
    title: "VMs",
    found: { ...found, items: found.items?.map((item) => overtaken(item, fleet.vms.get(item.id))) },
    id: (vm) => vm.id,
    filters: html`
      ${choose(route.asked, "state", "State", VM_STATES)}
      ${choose(route.asked, "source", "Source", distinct(all, "source"))}
      ${choose(route.asked, "tenant", "Tenant", distinct(all, "tenant"))}
      ${orders(route.asked)} ${tick(route.asked, "gone", "gone too")}`,
    columns: [
      { label: "VM", kind: "main", cell: (vm) => html`<a class="cover" href=${vmLink({ ...vm, name: vm.vm_name })}>${short(vm.vm_name)}</a>` },
      { label: "State", kind: "state", cell: (vm) => html`${badge(vm.state)}${vmFlags(vm)}` },
      { label: "Deployment", kind: "wide", cell: (vm) => short(deploymentName(fleet, vm.source, vm.deployment)) },
      { label: "Host", kind: "extra", cell: (vm) => text(vm.host_name, 30) },
      { label: "Source", kind: "extra", cell: (vm) => text(vm.source, 20) },
      { label: "Since", kind: "time", cell: (vm) => time(vm.changed_at, app.now) },
    ],
  });
}

export const vmFlags = (vm) => html`
  ${vm.needs_manual_recovery ? html`<span class="flag bad">by hand</span>` : nothing}
  ${vm.recovery_open && vm.state !== "RECOVERING" ? html`<span class="flag">in recovery</span>` : nothing}
  ${vm.monitored === false ? html`<span class="flag">not monitored</span>` : nothing}`;

export function deploymentsView(app) {
  const { fleet, route } = app;
  const all = fleet.allDeployments();
  const mixes = mixOfAll(fleet);
  const found = looked(app, "deployments", ["state", "source", "tenant"], { current: true, ...present(route.asked, DEPLOYMENT_STATES) });
  const its = (item) => fleet.deployments.get(place(item.source, item.internal_deployment_id));
  const label = (item) => (its(item) ? deploymentName(fleet, item.source, item.internal_deployment_id) : item.deployment_name || item.internal_deployment_id);
  return listView(app, {
    title: "Deployments",
    found: { ...found, items: found.items?.map((item) => overtaken(item, its(item)?.incarnation === item.incarnation ? its(item) : null)) },
    id: (one) => one.id,
    filters: html`
      ${choose(route.asked, "state", "State", DEPLOYMENT_STATES)}
      ${choose(route.asked, "source", "Source", distinct(all, "source"))}
      ${choose(route.asked, "tenant", "Tenant", distinct(all, "tenant"))}
      ${orders(route.asked)} ${tick(route.asked, "gone", "gone too")}`,
    columns: [
      { label: "Deployment", kind: "main", cell: (one) => html`<a class="cover" href=${deploymentLink(one.source, one.internal_deployment_id)}>${short(label(one))}</a>` },
      { label: "State", kind: "state", cell: (one) => html`${badge(one.state)}${deploymentFlags(one)}` },
      { label: "VMs", kind: "wide", cell: (one) => mix(mixes.get(place(one.source, one.internal_deployment_id))) },
      { label: "Tenant", kind: "extra", cell: (one) => text(one.tenant, 30) },
      { label: "Source", kind: "extra", cell: (one) => text(one.source, 20) },
      { label: "Since", kind: "time", cell: (one) => time(one.changed_at, app.now) },
    ],
  });
}

export const deploymentFlags = (one) => html`
  ${one.degraded ? html`<span class="flag bad">degraded</span>` : nothing}
  ${one.vim_leak_suspected ? html`<span class="flag bad">leak in VIM?</span>` : nothing}`;

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
  const took = (one) => (Date.parse(one.ended_at ?? new Date(app.now).toISOString()) - Date.parse(one.first_seen_at)) / 1000;
  return listView(app, {
    title: "Operations",
    found: looked(app, "operations", ["state", "source", "kind", "tenant", "deployment", "ref"], { order: "newest" }),
    id: (one) => one.id,
    filters: html`
      ${choose(route.asked, "state", "State", ["OPEN", "OVERDUE", "SUCCEEDED", "FAILED", "CANCELLED"])}
      ${choose(route.asked, "kind", "Kind", OPERATION_KINDS.map((kind) => [kind, kind.replaceAll("_", " ")]))}
      ${choose(route.asked, "source", "Source", distinct(fleet.allDeployments(), "source"))}`,
    columns: [
      { label: "Operation", kind: "main", cell: (one) => html`<a class="cover" href=${operationLink(one.source, one.transaction_id)}>${operationName(one.kind, one.transaction_id)}</a>` },
      { label: "State", kind: "state", cell: (one) => html`${badge(one.state)}${one.revised ? html`<span class="flag">revised</span>` : nothing}` },
      { label: "Progress", kind: "wide", cell: (one) => html`${progress(one)} ${pace(one, app.now)}` },
      { label: "Deployment", kind: "extra", cell: (one) => toDeployment(fleet, one.source, one.deployment) },
      { label: "Took", kind: "extra", cell: (one) => span(took(one)) },
      { label: "Started", kind: "time", cell: (one) => time(one.first_seen_at, app.now) },
    ],
  });
}

export function resourcesView(app) {
  const { fleet, health, route } = app;
  return listView(app, {
    title: "Resources",
    found: looked(app, "resources", ["state", "source", "tenant", "kind", "deployment"], present(route.asked, RESOURCE_STATES)),
    id: (one) => one.id,
    filters: html`
      ${choose(route.asked, "kind", "Kind", Object.keys(health.stats?.resources ?? {}).sort())}
      ${choose(route.asked, "state", "State", RESOURCE_STATES)}
      ${choose(route.asked, "source", "Source", distinct(fleet.allDeployments(), "source"))}
      ${orders(route.asked)} ${tick(route.asked, "gone", "gone too")}`,
    columns: [
      { label: "Resource", kind: "main", cell: (one) => html`<a class="cover" href=${resourceLink(one)}>${name(one.kind, 20)} ${short(one.name ?? one.resource_id)}</a>` },
      { label: "State", kind: "state", cell: (one) => badge(one.state) },
      { label: "Deployment", kind: "wide", cell: (one) => toDeployment(fleet, one.source, one.deployment) },
      { label: "Tenant", kind: "extra", cell: (one) => text(one.tenant, 30) },
      { label: "Source", kind: "extra", cell: (one) => text(one.source, 20) },
      { label: "Since", kind: "time", cell: (one) => time(one.changed_at, app.now) },
    ],
  });
}
