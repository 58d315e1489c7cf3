// What the board knows: VMs, deployments, operations, the latest changes. Filled from lists, kept up by the feed.
// Bounded: so many VMs, so many that are gone, so many changes. It must not know HTTP or how anything is shown.
import { GONE } from "./states.js";

export const VMS_MAX = 20_000;
const GONE_MAX = 500;
export const CHANGES_MAX = 400;
const OPERATIONS_MAX = 2_000;
const PULSE_S = 600;

const order = (a, b) => (a.sorted < b.sorted ? -1 : a.sorted > b.sorted ? 1 : 0);

/** Where a thing stands, or would stand, in a sorted list: with ten thousand, sorting anew at each change is too dear. */
function placeIn(list, thing) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].sorted < thing.sorted) low = middle + 1;
    else high = middle;
  }
  return low;
}

export const place = (source, deployment) => `${source}\u0000${deployment}`;

export class Fleet {
  constructor() {
    this.vms = new Map();
    this.deployments = new Map();
    this.operations = new Map();
    this.changes = [];
    this.read = new Set();
    this.gone = new Map();
    this.pulse = new Array(PULSE_S).fill(0);
    this.pulseAt = Math.floor(Date.now() / 1000);
    this.truncated = false;
    this.sortedVms = [];
    this.sortedDeployments = [];
    this.labels = null;
  }

  forget() {
    for (const map of [this.vms, this.deployments, this.operations, this.gone]) map.clear();
    this.truncated = false;
    this.sortedVms = [];
    this.sortedDeployments = [];
  }

  add(map, key, thing, list) {
    if (map === this.deployments) this.labels = null;
    map.set(key, thing);
    // Lists come sorted, so what is new mostly stands last.
    if (!list.length || order(list[list.length - 1], thing) < 0) list.push(thing);
    else list.splice(placeIn(list, thing), 0, thing);
  }

  drop(map, key) {
    const thing = map.get(key);
    const list = map === this.vms ? this.sortedVms : this.sortedDeployments;
    const index = list.indexOf(thing, placeIn(list, thing));
    if (index >= 0) list.splice(index, 1);
    map.delete(key);
  }

  // From lists: whole items. One that the feed has overtaken keeps what the feed said.

  takeVm(item) {
    const known = this.vms.get(item.id);
    if (!known && this.vms.size >= VMS_MAX) {
      this.truncated = true;
      return;
    }
    const vm = known ?? this.newVm(item.id, item.source, item.deployment, item.vm_name);
    vm.tenant = item.tenant;
    if (item.sequence < vm.sequence) return;
    Object.assign(vm, {
      state: item.state, at: item.changed_at, sequence: item.sequence,
      manual: item.needs_manual_recovery, recovering: item.recovery_open,
    });
  }

  newVm(id, source, deployment, name) {
    const vm = {
      id, source, deployment, name, sequence: -1, state: "UNSEEN", at: null,
      sorted: `${source}\u0000${deployment}\u0000${name}`,
    };
    this.add(this.vms, id, vm, this.sortedVms);
    return vm;
  }

  takeDeployment(item) {
    if (!item.current) return;
    const key = place(item.source, item.internal_deployment_id);
    const known = this.deployments.get(key);
    if (known && known.incarnation > item.incarnation) return;
    const deployment = known ?? this.newDeployment(item.source, item.internal_deployment_id);
    this.rename(deployment, item.deployment_name);
    Object.assign(deployment, { tenant: item.tenant, degraded: item.degraded, leak: item.vim_leak_suspected });
    this.labels = null;
    if (known && known.incarnation === item.incarnation && item.sequence < known.sequence) return;
    Object.assign(deployment, {
      incarnation: item.incarnation, state: item.state, at: item.changed_at, sequence: item.sequence,
    });
  }

  /** What a deployment is called: its name, and where others there bear it as well, whose or where it is. */
  nameOf(source, id) {
    const one = this.deployments.get(place(source, id));
    const label = one?.label || id;
    const alike = this.named(label);
    if (!one || alike.length < 2) return label;
    const apart = ["tenant", "source", "id"].find((key) => new Set(alike.map((other) => other[key])).size === alike.length);
    return `${label} (${one[apart ?? "id"]})`;
  }

  /** The deployments of this name that are there. */
  named(label) {
    if (!this.labels) {
      this.labels = new Map();
      for (const one of this.sortedDeployments) {
        if (GONE.has(one.state)) continue;
        const its = one.label || one.id;
        if (this.labels.has(its)) this.labels.get(its).push(one);
        else this.labels.set(its, [one]);
      }
    }
    return this.labels.get(label) ?? [];
  }

  /** Sorted by the name that is shown. */
  rename(deployment, label) {
    if (deployment.label === label) return;
    const key = place(deployment.source, deployment.id);
    this.drop(this.deployments, key);
    Object.assign(deployment, { label, sorted: [deployment.source, label ?? deployment.id, deployment.id].join("\u0000") });
    this.add(this.deployments, key, deployment, this.sortedDeployments);
  }

  newDeployment(source, id) {
    const deployment = {
      id, source, label: null, tenant: null, state: "UNSEEN", at: null, sequence: -1, incarnation: 0,
      degraded: false, leak: false, sorted: `${source}\u0000${id}\u0000${id}`,
    };
    this.add(this.deployments, place(source, id), deployment, this.sortedDeployments);
    return deployment;
  }

  takeOperation(item) {
    const known = this.operations.get(item.id);
    if (known && known.sequence > item.sequence) item = { ...item, state: known.state, sequence: known.sequence };
    this.operations.set(item.id, item);
    this.forgetOperations();
  }

  /** Those that were in flight and are in no list any more have ended: what they became is in the newest. */
  keepOpenOnly(ids) {
    for (const operation of this.operations.values()) {
      if (["OPEN", "OVERDUE"].includes(operation.state) && !ids.has(operation.id)) this.operations.delete(operation.id);
    }
  }

  forgetOperations() {
    for (const [id, operation] of this.operations) {
      if (this.operations.size <= OPERATIONS_MAX) return;
      if (!["OPEN", "OVERDUE"].includes(operation.state)) this.operations.delete(id);
    }
  }

  // From the ledger: what happened before the page was opened, the latest first.

  takeHistory(entries) {
    const known = new Set(this.changes.map((change) => change.id));
    const earlier = entries.filter((entry) => !known.has(entry.id)).reverse();
    this.changes = [...earlier, ...this.changes].slice(-CHANGES_MAX);
    this.read = new Set(entries.map((entry) => entry.id));
    this.tick();
    for (const entry of earlier) {
      const ago = this.pulseAt - Math.floor(Date.parse(entry.at) / 1000);
      if (ago >= 0 && ago < this.pulse.length) this.pulse[this.pulse.length - 1 - ago] += 1;
    }
  }

  // From the feed: one ledger entry.

  take(change) {
    if (!this.read.has(change.id)) this.happened(change);
    if (change.entity === "vm") this.vmChanged(change);
    else if (change.entity === "deployment") this.deploymentChanged(change);
    else if (change.entity === "operation") this.operationChanged(change);
  }

  /** It may have been read from the ledger before the feed tells of it. */
  happened(change) {
    this.changes.push(change);
    if (this.changes.length > 2 * CHANGES_MAX) this.changes = this.changes.slice(-CHANGES_MAX);
    this.count();
  }

  vmChanged(change) {
    const known = this.vms.get(change.entity_id);
    if (!known && this.vms.size >= VMS_MAX) {
      this.truncated = true;
      return;
    }
    const vm = known ?? this.newVm(change.entity_id, change.source, change.deployment, change.name);
    if (change.sequence <= vm.sequence) return;
    vm.tenant ??= change.tenant;
    if (change.from_state !== change.to_state || !vm.at) vm.at = change.at;
    vm.state = change.to_state;
    vm.sequence = change.sequence;
    vm.reason = change.reason;
    vm.recovering = change.to_state === "RECOVERING";
    if (change.from_state !== change.to_state) vm.manual = change.rule === "vm-manual-recovery-needed";
    this.mayBeGone(this.vms, change.entity_id, vm);
  }

  deploymentChanged(change) {
    const key = place(change.source, change.name);
    const deployment = this.deployments.get(key) ?? this.newDeployment(change.source, change.name);
    const newer = change.incarnation > deployment.incarnation;
    if (!newer && (change.incarnation < deployment.incarnation || change.sequence <= deployment.sequence)) return;
    if (newer) deployment.degraded = deployment.leak = false;
    deployment.tenant ??= change.tenant;
    deployment.incarnation = change.incarnation;
    if (newer || change.from_state !== change.to_state || !deployment.at) deployment.at = change.at;
    deployment.state = change.to_state;
    deployment.sequence = change.sequence;
    if (change.change === "vim_leak_suspected") deployment.leak = true;
    this.mayBeGone(this.deployments, key, deployment);
  }

  operationChanged(change) {
    const known = this.operations.get(change.entity_id);
    if (known && change.sequence <= known.sequence) return;
    const operation = known ?? {
      id: change.entity_id, source: change.source, transaction_id: change.name, kind: "", first_seen_at: change.at,
      deployment: change.deployment, ref: change.ref,
    };
    const ended = !["OPEN", "OVERDUE"].includes(change.to_state);
    this.operations.set(change.entity_id, {
      ...operation, state: change.to_state, sequence: change.sequence, last_seen_at: change.at,
      ended_at: ended ? (operation.ended_at ?? change.at) : null,
    });
    this.forgetOperations();
  }

  mayBeGone(map, key, thing) {
    if (map === this.deployments) this.labels = null;
    if (!GONE.has(thing.state)) {
      this.gone.delete(key);
      return;
    }
    this.gone.delete(key);
    this.gone.set(key, map);
    if (this.gone.size <= GONE_MAX) return;
    const [oldest, home] = this.gone.entries().next().value;
    this.gone.delete(oldest);
    this.drop(home, oldest);
  }

  // How lively it is: changes in each of the last seconds.

  count() {
    this.tick();
    this.pulse[this.pulse.length - 1] += 1;
  }

  tick() {
    const now = Math.floor(Date.now() / 1000);
    const passed = Math.min(now - this.pulseAt, this.pulse.length);
    for (let step = 0; step < passed; step += 1) {
      this.pulse.shift();
      this.pulse.push(0);
    }
    this.pulseAt = Math.max(now, this.pulseAt);
  }

  /** Changes a second, over the last ten whole seconds. */
  changeRate() {
    this.tick();
    return this.pulse.slice(-11, -1).reduce((sum, one) => sum + one, 0) / 10;
  }

  // Looked at.

  /** Sorted by source, deployment and name. Not to be changed by who looks. */
  allVms() {
    return this.sortedVms;
  }

  allDeployments() {
    return this.sortedDeployments;
  }

  latest(most) {
    return this.changes.slice(-most).reverse();
  }

  /** The latest change of which `is` is true. */
  lastOf(is) {
    return this.changes.findLast(is);
  }

  openOperations() {
    return [...this.operations.values()].filter((one) => one.state === "OPEN" || one.state === "OVERDUE");
  }
}

export function byState(things) {
  const counts = {};
  for (const thing of things) counts[thing.state] = (counts[thing.state] ?? 0) + 1;
  return counts;
}
