// The fleet as it was at a moment: read once from lists with `at`, into a fleet of its own that no feed changes. What was
// read before stays in sight while another moment is on its way. It must not know how anything is shown.
import { get, pages } from "./api.js";
import { Fleet, VMS_MAX } from "./fleet.js";
import { GONE, VM_STATES } from "./states.js";

const PAGE = 1_000;
const OPERATIONS = 200;
const LATEST = 12;

export class Past {
  constructor(schedule) {
    this.schedule = schedule;
    this.at = null;
    this.forget();
  }

  forget() {
    this.at = this.fleet = this.error = this.readFor = null;
    this.loading = false;
  }

  /** What is known of a moment; asks for it when it is another than before. */
  of(at) {
    if (this.at !== at) this.load(at);
    return this;
  }

  async load(at) {
    this.at = at;
    this.loading = true;
    this.error = null;
    try {
      const fleet = await readThen(at);
      if (this.at === at) Object.assign(this, { fleet, readFor: at });
    } catch (error) {
      if (this.at === at) this.error = error;
    }
    if (this.at === at) this.loading = false;
    this.schedule();
  }
}

async function readThen(at) {
  const fleet = new Fleet();
  const there = VM_STATES.filter((state) => !GONE.has(state));
  await pages("deployments", { at, current: true, limit: PAGE }, VMS_MAX, (items) =>
    items.filter((item) => !GONE.has(item.state)).forEach((item) => fleet.takeDeployment(item)));
  fleet.truncated = await pages("vms", { at, state: there, limit: PAGE }, VMS_MAX, (items) => items.forEach((item) => fleet.takeVm(item)));
  await pages("operations", { at, state: ["OPEN", "OVERDUE"], order: "newest", limit: OPERATIONS }, OPERATIONS, (items) =>
    items.forEach((item) => fleet.takeOperation({ ...item, last_seen_at: item.changed_at })));
  const until = new Date(Date.parse(at) + 1).toISOString();
  fleet.changes = (await get("transitions", { until, order: "newest", limit: LATEST })).items.reverse();
  return fleet;
}
