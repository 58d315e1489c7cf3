// How far an operation is, as a bar and in words: what its messages said of VMs, and how it ended. The bar never says more
// than the end does: what has failed is no full bar of success, what has succeeded has nothing left to do.
import { html, nothing } from "./vendor/lit-html/lit-html.js";
import { clock, count, counted, span } from "./text.js";
import { facts } from "./parts.js";

const BRINGS_UP = new Set(["deploy", "update", "start", "reboot", "scale_out", "recovery"]); // their VMs are told to be alive
const ENDED = { SUCCEEDED: "alive", FAILED: "error", CANCELLED: "stopped" };

/** What the bar shows: so many VMs of how many, each part in its tone. */
function measured({ state, kind, vms_seen: seen, vms_deployed: deployed, vms_alive: alive, vms_failed: wrong }) {
  const failing = Math.max(0, Math.min(wrong, seen - alive)); // one that failed and then came up counts as alive
  if (state === "SUCCEEDED") return { done: seen - failing, parts: [["alive", seen - failing], ["error", failing]] };
  const done = BRINGS_UP.has(kind) ? Math.min(alive, seen) : 0;
  if (state in ENDED) return { done, parts: [[ENDED[state], seen]] };
  const waiting = Math.min(Math.max(deployed - alive, 0), seen - done - failing);
  return { done, parts: [["alive", done], ["error", failing], ["inert", waiting]] };
}

/** The same as a sentence. */
function said({ state, kind, vms_seen: seen, vms_deployed: deployed, vms_alive: alive, vms_failed: wrong }, done) {
  const of = counted(seen, "VM");
  const failures = wrong ? `, ${counted(wrong, "failure")} reported` : "";
  if (state === "SUCCEEDED") return `Succeeded for ${count(done)} of ${of}${failures}`;
  const up = BRINGS_UP.has(kind) ? `${count(deployed)} deployed, ${count(alive)} alive of ${of}` : of;
  return `${{ FAILED: "Failed: ", CANCELLED: "Cancelled: " }[state] ?? ""}${up}${failures}`;
}

/** A bar and a figure for lists; nothing where no VM was named. */
export function progress(operation) {
  const seen = operation.vms_seen ?? 0;
  if (!seen) return operation.vms_failed ? html`<span class="figure">${unnamed(operation.vms_failed)}</span>` : nothing;
  const { done, parts } = measured(operation);
  const words = said(operation, done);
  const figure = operation.state === "SUCCEEDED" || BRINGS_UP.has(operation.kind) ? `${count(done)}/${count(seen)}` : counted(seen, "VM");
  const up = operation.state in ENDED && operation.state !== "SUCCEEDED" && BRINGS_UP.has(operation.kind) ? " alive" : "";
  return html`<span class="progress" role="img" aria-label=${words} title=${words}>
    <span class="meter">${parts.map(([kind, number]) => (number > 0 ? html`<i class="tone-${kind}" .style=${`width:${(100 * number) / seen}%`}></i>` : nothing))}</span>
    <span class="figure">${figure}${up}</span></span>`;
}

const unnamed = (failures) => `${counted(failures, "failure")}, no VM named`;

/** How long an open operation has taken, of what one like it usually takes; nothing while that is not known. */
export function pace(operation, now) {
  const { state, usual_s: usual, longest_s: longest, due_at: due } = operation;
  if (state in ENDED || usual == null) return nothing;
  const took = Math.max(0, (now - Date.parse(operation.first_seen_at)) / 1000);
  const kind = took <= usual ? "alive" : took <= longest ? "inert" : "error";
  const words = `${span(took)} of usually ${span(usual)}, ${span(longest)} at the longest${due ? `; overdue at ${clock(due)}` : ""}`;
  const width = usual ? Math.min(100, (100 * took) / usual) : 100;
  return html`<span class="progress" role="img" aria-label=${words} title=${words}>
    <span class="meter"><i class="tone-${kind}" .style=${`width:${width}%`}></i></span>
    <span class="figure">${span(took)} of ~${span(usual)}</span></span>`;
}

/** The counts for the page of an operation, with what they do not say by themselves. */
export function progressFacts(operation) {
  const { state, kind, vms_seen: seen, vms_failed: wrong } = operation;
  if (!seen) return html`<p class="calm">${wrong ? `${counted(wrong, "failure was", "failures were")} reported, without a VM being named.` : "No message has named a VM."}</p>`;
  const { done } = measured(operation);
  const pairs = BRINGS_UP.has(kind) ? [["Deployed", count(operation.vms_deployed)], ["Alive", count(operation.vms_alive)]] : [];
  return html`<p>${said(operation, done)}.</p>
    ${facts([["VMs named", count(seen)], ...pairs, ["Failures", wrong > seen ? `${count(wrong)}, some without a VM being named` : count(wrong)]])}
    ${operation.inferred ? html`<p class="hint">How it ended was never told: ESC was asked.</p>` : nothing}
    ${state === "FAILED" && !wrong ? html`<p class="hint">The failure was reported of the whole, not of a VM.</p>` : nothing}`;
}
