// Images of two pixels: a few training points, a measurement, their weighted average.
(() => {
  "use strict";
  const {
    sum, clamp, percent, make, slider, draggable, speaker, BLUE, RED, PURPLE, chart, legend,
    svgIn, redraw} = window.lemmseScenes.tools;

  const plane = ({points}, {y, sigma}) => {
    const energy = points.map(p => ((p[0] - y[0]) ** 2 + (p[1] - y[1]) ** 2) / (2 * sigma * sigma));
    const least = Math.min(...energy), raw = energy.map(e => Math.exp(least - e));
    const weights = raw.map(w => w / sum(raw));
    return {weights, estimate: [0, 1].map(i => sum(points.map((p, n) => weights[n] * p[i])))};
  };

  const mountPlane = (live, data) => {
    const state = {...data.start}, controls = make(live, "div", {class: "controls"});
    slider(controls, "noise level σ", {low: 0.02, high: 1, log: true}, state.sigma,
      value => { state.sigma = value; show(); });
    legend(live, [["training images, larger for more weight", BLUE], ["measurement y", PURPLE],
      ["their average: MMSE", RED]]);
    const svg = svgIn(live, `${data.alt}. Arrow keys move the measurement.`, true);
    const say = speaker(live);
    let places;
    const show = () => {
      const {weights, estimate} = plane(data, state), axis = [-0.2, 1.2], ticks = [0, 0.5, 1];
      places = chart(svg, {x: axis, y: axis, xTicks: ticks, yTicks: ticks, square: true,
        xLabel: "first pixel", yLabel: "second pixel"});
      data.points.forEach((point, n) => {
        places.line([estimate, point], BLUE, `${1 + 8 * weights[n]} ${9 - 8 * weights[n]}`);
        places.dot(...point, BLUE, 4 + 14 * Math.sqrt(weights[n]));
      });
      places.line([state.y, estimate], PURPLE, "6 4");
      places.dot(...state.y, PURPLE, 8);
      places.dot(...estimate, RED, 8);
      say(`y = (${state.y.map(v => v.toFixed(2)).join(", ")}), estimate ` +
        `(${estimate.map(v => v.toFixed(2)).join(", ")}). Weights: ` +
        `${weights.map(percent).join(", ")}.`);
    };
    const move = y => { state.y = y.map(v => clamp(v, -0.2, 1.2)); show(); };
    draggable(svg, (x, up) => {
      const {left, right, top, bottom, width, height} = places;
      move([-0.2 + 1.4 * (x * width - left) / (width - left - right),
        1.2 - 1.4 * (up * height - top) / (height - top - bottom)]);
    }, (right, down) => move([state.y[0] + 0.02 * right, state.y[1] - 0.02 * down]));
    redraw(svg, show);
  };

  window.lemmseScenes.kinds.plane = mountPlane;
  Object.assign(window.lemmseScenes.compute, {plane});
})();
