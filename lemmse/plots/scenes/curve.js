// The function f of one pixel: LE-MMSE with patches of one pixel.
(() => {
  "use strict";
  const {
    sum, clamp, steps, make, slider, draggable, speaker, BLUE, ORANGE, chart, legend, svgIn,
    redraw, shape} = window.lemmseScenes.tools;

  const curve = ({counts}, {v, sigma}) => {
    const energy = counts.map((c, i) => (v - i / 255) ** 2 / (2 * sigma * sigma));
    const least = Math.min(...energy.filter((e, i) => counts[i]));
    const raw = counts.map((c, i) => c && c * Math.exp(least - energy[i])), total = sum(raw);
    const weights = raw.map(w => w / total);
    const estimate = sum(weights.map((w, i) => w * i / 255));
    const variance = sum(weights.map((w, i) => w * (i / 255 - estimate) ** 2));
    return {weights, estimate, deviation: Math.sqrt(variance)};
  };

  const mountCurve = (live, data) => {
    const state = {...data.start}, controls = make(live, "div", {class: "controls"});
    slider(controls, "noise level σ", {low: 0.01, high: 1, log: true}, state.sigma,
      value => { state.sigma = value; show(); });
    const setV = slider(controls, "noisy pixel v", {low: -0.5, high: 1.5, text: v => v.toFixed(2)},
      state.v, value => { state.v = value; show(); });
    legend(live, [["f", BLUE], ["f(v) = v", "#777", "2 3"], ["training pixels", "#777"],
      ["those that vote for v", ORANGE]]);
    const svg = svgIn(live, `${data.alt}. Arrow keys move the noisy pixel.`, true);
    const say = speaker(live), most = Math.max(...data.counts);
    const show = () => {
      const found = curve(data, state), c = chart(svg, {x: [-0.5, 1.5], y: [-0.05, 1.05],
        xTicks: [-0.5, 0, 0.5, 1, 1.5], yTicks: [0, 0.5, 1], xLabel: "noisy pixel v",
        yLabel: "grey level"});
      // Sideways at the left: how many training pixels have each grey level, and who votes.
      const top = Math.max(...found.weights);
      data.counts.forEach((n, i) => {
        const at = {x: c.left, y: c.py((i + 1) / 255), height: c.py(0) - c.py(1 / 255) + 0.3};
        shape(svg, "rect", {...at, width: 60 * n / most, fill: "#bbb"});
        shape(svg, "rect", {...at, width: 60 * found.weights[i] / top, fill: ORANGE,
          opacity: 0.7});
      });
      c.line([[-0.05, -0.05], [1.05, 1.05]], "#777", "2 3");
      c.line(steps(-0.5, 1.5, 160).map(v => [v, curve(data, {...state, v}).estimate]), BLUE);
      c.line([[state.v, -0.05], [state.v, found.estimate], [-0.5, found.estimate]], ORANGE, "5 4");
      c.dot(state.v, found.estimate, ORANGE);
      say(`v = ${state.v.toFixed(2)}: f(v) = ${found.estimate.toFixed(2)} ± ` +
        `${found.deviation.toFixed(2)}.`);
    };
    const move = v => { state.v = clamp(v, -0.5, 1.5); setV(state.v); show(); };
    draggable(svg, x => move(-0.5 + 2 * (x * svg.viewBox.baseVal.width - 52) /
      (svg.viewBox.baseVal.width - 62)), right => move(state.v + 0.02 * right));
    redraw(svg, show);
  };

  window.lemmseScenes.kinds.curve = mountCurve;
  Object.assign(window.lemmseScenes.compute, {curve});
})();
