// What is said aloud to those who listen: seldom, and in one sentence.
import { counted } from "./text.js";

const SPEAK_MS = 10_000;

export class Spoken {
  /** `element` is the live region of the page. */
  constructor(element) {
    this.element = element;
    this.failures = 0;
    setInterval(() => this.sayFailures(), SPEAK_MS);
  }

  say(sentence) {
    this.element.textContent = sentence;
  }

  /** A change of the feed: what fails is counted, and said for all at once. */
  take(change) {
    if (change.entity === "vm" && change.to_state === "ERROR" && change.from_state !== "ERROR") this.failures += 1;
  }

  sayFailures() {
    if (this.failures) this.say(`${counted(this.failures, "VM has", "VMs have")} gone to ERROR.`);
    this.failures = 0;
  }
}
