// The chart of changes a second. It must not know where the figures come from.
import uPlot from "./vendor/uplot/dist/uPlot.esm.js";

const HEIGHT = 120;

export class Pulse {
  constructor() {
    this.host = null;
    this.chart = null;
  }

  /** `host` is where it stands now, or null; it is made anew when the place or the colours are new. */
  show(host, pulse, endsAt) {
    if (host !== this.host) this.drop();
    if (!host || !host.clientWidth) return;
    const times = pulse.map((_, index) => endsAt - pulse.length + 1 + index);
    // The second that is still running would always look like a fall.
    const data = [times.slice(0, -1), pulse.slice(0, -1)];
    if (!this.chart) this.make(host, data);
    else this.chart.setData(data);
    if (this.chart.width !== host.clientWidth) this.chart.setSize({ width: host.clientWidth, height: HEIGHT });
  }

  make(host, data) {
    const colours = getComputedStyle(host);
    const colour = (kind) => colours.getPropertyValue(`--${kind}`).trim();
    const axis = { stroke: colour("dim"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    this.host = host;
    this.chart = new uPlot(
      {
        width: host.clientWidth, height: HEIGHT, padding: [8, 8, 0, 0], legend: { show: false }, cursor: { show: false },
        scales: { y: { range: (_, least, most) => [0, Math.max(4, most * 1.1)] } },
        axes: [{ ...axis, size: 24, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 34 }],
        series: [{}, { stroke: colour("accent"), width: 1.5, fill: colour("accent-soft"), points: { show: false } }],
      },
      data,
      host,
    );
  }

  drop() {
    this.chart?.destroy();
    this.chart = this.host = null;
  }
}

const two = (number) => String(number).padStart(2, "0");
const clock = (tick) => {
  const date = new Date(tick * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
};
