// The wall as it was: a slider through the past above the fleet, what was there at its moment, and the way back to now.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { byState } from "./fleet.js";
import { failed, panel } from "./parts.js";
import { change, link, read } from "./route.js";
import { moment, span } from "./text.js";
import { attention, flight, latest, legend, map, tiles } from "./view_fleet.js";

const SPANS = [["hour", "an hour", 3_600], ["day", "a day", 86_400], ["week", "a week", 604_800], ["month", "a month", 2_592_000]];
const STEPS = 360;

const spanOf = (route) => SPANS.find(([key]) => key === route.asked.span) ?? SPANS[1];
const written = (ms) => new Date(ms).toISOString().replace(".000Z", "Z");
const told = (at) => moment(at).replace(".000", "");

/** The moment that is asked for, as the query API takes it; null: now. */
export function askedMoment(route) {
  const at = Date.parse(route.asked.at ?? "");
  return route.view === "fleet" && Number.isFinite(at) ? written(at) : null;
}

/** Above the live fleet and the one of the past. */
export function slider(app) {
  const [chosen, , seconds] = spanOf(app.route);
  const at = askedMoment(app.route);
  const back = at ? Math.min(seconds, Math.max(0, (app.now - Date.parse(at)) / 1000)) : 0;
  const step = seconds / STEPS;
  const spoken = at ? `${told(at)}, ${span((app.now - Date.parse(at)) / 1000)} ago` : "now";
  const go = (event) => travel(Number(event.target.value) >= 0 ? null : Date.now() + Number(event.target.value) * 1000);
  return html`<form class="travel" role="group" aria-label="The fleet as it was" @submit=${(event) => event.preventDefault()}>
    <label class="grow"><span class="dim">Look back</span>
      <input type="range" min=${-seconds} max="0" step=${step} .value=${String(-back)} aria-valuetext=${spoken} @change=${go}></label>
    <label class="choose"><span class="spoken">How far back the slider goes</span>
      <select @change=${(event) => change({ span: event.target.value })}>
        ${SPANS.map(([key, label]) => html`<option value=${key} ?selected=${key === chosen}>${label}</option>`)}</select></label>
    <label class="choose"><span class="spoken">A moment of your choice</span>
      <input type="datetime-local" step="1" .value=${at ? local(at) : ""} @change=${(event) => travel(Date.parse(event.target.value) || null)}></label>
  </form>`;
}

/** To a moment in milliseconds, or back to now. */
const travel = (ms) => change({ at: ms ? written(Math.round(ms / 1000) * 1000) : "" });

function local(at) {
  const time = new Date(at);
  return new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export function pastView(app, at) {
  const past = app.past.of(at);
  return html`<h1 class="spoken">Fleet as it was</h1>
    ${slider(app)}
    <p class="ribbon waiting as-of" role="status">${past.loading ? html`<i class="spin" aria-hidden="true"></i>` : nothing}
      <strong>As of ${told(at)}</strong>, ${span((app.now - Date.parse(at)) / 1000)} ago: what has happened since is not shown.
      <a class="button" href=${link("fleet", { ...read().asked, at: "" })}>Back to live</a></p>
    ${past.error ? failed(past.error, () => past.load(at)) : past.fleet ? wall({ ...app, fleet: past.fleet, now: Date.parse(past.readFor), then: true }) : nothing}`;
}

function wall(then) {
  const vms = then.fleet.allVms();
  const counts = byState(vms);
  if (!vms.length && !then.fleet.deployments.size) return html`<p class="calm">Nothing was known then.</p>`;
  return html`${tiles(then, counts, vms.length)}
    <div class="wall">
      <div class="wall-main">${panel("Every VM", map(then, vms.length), { more: legend(counts), kind: "fleet-map" })}</div>
      <div class="wall-side">${attention(then)}${flight(then)}${latest(then)}</div>
    </div>`;
}
