// Fills the fleet from lists, and asks again and again for what the feed does not tell: progress of operations,
// health, lags, quarantine. It must not know how anything is shown.
import { get, pages, ready } from "./api.js";
import { GONE } from "./states.js";
import { CHANGES_MAX, VMS_MAX } from "./fleet.js";

const PAGE = 1_000;
const NEWEST_OPERATIONS = 200;
const OPEN_OPERATIONS = 500;

/** Everything that is there now. `progress` is called after each page, so that what is there is shown. */
export async function readAll(fleet, progress) {
  const stats = await get("stats");
  await readHistory(fleet);
  for (const [list, take] of [["deployments", "takeDeployment"], ["vms", "takeVm"]]) {
    for (const state of Object.keys(stats[list] ?? {})) {
      // What is gone is as good as without number, and is asked for when somebody looks at it.
      if (GONE.has(state) || !stats[list][state]) continue;
      const more = await pages(list, { state, limit: PAGE }, VMS_MAX, (items) => {
        items.forEach((item) => fleet[take](item));
        progress();
      });
      if (more) fleet.truncated = true;
    }
  }
  await readNewest(fleet);
  await readOpen(fleet);
}

/** The latest changes, so that feed and chart do not begin empty. */
export async function readHistory(fleet) {
  const page = await get("transitions", { order: "newest", limit: CHANGES_MAX });
  fleet.takeHistory(page.items);
}

/** The latest operations: of those that came and went meanwhile the feed has told only the id. */
export async function readNewest(fleet) {
  const page = await get("operations", { order: "newest", limit: NEWEST_OPERATIONS });
  page.items.forEach((item) => fleet.takeOperation(item));
}

/** Operations in flight, with their progress. */
export async function readOpen(fleet) {
  const ids = new Set();
  for (const state of ["OPEN", "OVERDUE"]) {
    const page = await get("operations", { state, limit: OPEN_OPERATIONS });
    for (const item of page.items) {
      ids.add(item.id);
      fleet.takeOperation(item);
    }
    if (page.next) return; // more than are listed: none may be taken for ended
  }
  const seen = new Set([...fleet.operations.values()].filter((one) => Date.now() - Date.parse(one.last_seen_at) < 10_000).map((one) => one.id));
  fleet.keepOpenOnly(new Set([...ids, ...seen]));
}

/** What changed since: names and flags are in the items, not in the feed. One page is enough for the eye. */
export async function readChanged(fleet, since) {
  const asked = { since: new Date(since).toISOString(), limit: PAGE };
  (await get("deployments", asked)).items.forEach((item) => fleet.takeDeployment(item));
}

/** How the receiver is; without PostgreSQL there are no statistics, and all the more to be told. */
export async function readHealth() {
  const without = (error) => {
    if (error.status === 503) return null;
    throw error;
  };
  const [told, stats] = await Promise.all([ready(), get("stats").catch(without)]);
  return { ready: told, stats };
}
