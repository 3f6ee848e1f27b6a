// Tikhonov's filter for one lambda: what it keeps, what it loses, what noise it lets through.
(() => {
  "use strict";
  const {
    sum, range, percent, short, make, slider, speaker, BLUE, ORANGE, PURPLE, GREEN, chart,
    legend, svgIn, redraw} = window.lemmseScenes.tools;

  // Tikhonov's filter: expected squared error, split, for every frequency of data.
  const filter = ({blur, power, count}, {lambda, sigma}) => {
    const gain = blur.map(b => b / (b * b + lambda));
    const kept = blur.map((b, i) => b * gain[i]);
    const lost = kept.map((v, i) => (1 - v) ** 2 * power[i]);
    const noise = gain.map(g => sigma * sigma * g * g);
    const best = power.map((s, i) => sigma * sigma * s / (blur[i] ** 2 * s + sigma * sigma));
    const mean = list => sum(list.map((v, i) => v * count[i])) / sum(count);
    return {gain, kept, lost, noise, best, meanLost: mean(lost), meanNoise: mean(noise)};
  };
  const bestLambda = (data, sigma) => {
    const error = e => {
      const {meanLost, meanNoise} = filter(data, {lambda: 10 ** e, sigma});
      return meanLost + meanNoise;
    };
    let [low, high] = data.lambdas.map(Math.log10);
    for (let i = 0; i < 60; i++) {  // the error falls and then rises: search in thirds
      const third = (high - low) / 3;
      if (error(low + third) < error(high - third)) high -= third; else low += third;
    }
    return 10 ** ((low + high) / 2);
  };

  const mountFilter = (live, data) => {
    const state = {lambda: data.lambda, sigma: data.sigma};
    const controls = make(live, "div", {class: "controls"});
    const [low, high] = data.lambdas, [weak, strong] = data.sigmas;
    slider(controls, "regularisation λ", {low, high, log: true}, state.lambda,
      value => { state.lambda = value; show(); });
    slider(controls, "noise level σ", {low: weak, high: strong, log: true}, state.sigma,
      value => { state.sigma = value; show(); });
    const LINES = [["lost detail", BLUE, "7 4"], ["noise let through", ORANGE, "2 3"],
      ["both together", PURPLE], ["the best filter, Wiener", "#555"]];
    legend(live, [["kept of the signal, b g", GREEN], ["blur b", "#555", "3 3"]]);
    const top = svgIn(live, `${data.alt}: what the filter keeps`);
    legend(live, LINES);
    const bottom = svgIn(live, `${data.alt}: squared error`), say = speaker(live);
    const rings = [...new Set(data.ring)].filter(r => r <= data.side / 2).sort((a, b) => a - b);
    const overRings = values => rings.map(ring => {
      const own = range(values.length).filter(i => data.ring[i] === ring);
      return [ring / data.side, sum(own.map(i => values[i] * data.count[i])) /
        sum(own.map(i => data.count[i]))];
    });
    const show = () => {
      const found = filter(data, state), xTicks = [0, 0.1, 0.2, 0.3, 0.4, 0.5];
      const axis = {x: [0, 0.5], xTicks, xLabel: "frequency (cycles per pixel)"};
      const above = chart(top, {...axis, y: [0, 1.02], yTicks: [0, 0.5, 1], yLabel: "gain"});
      above.line(overRings(data.blur), "#555", "3 3");
      above.line(overRings(found.kept), GREEN);
      const below = chart(bottom, {...axis, y: [1e-6, 10], log: true, yLabel: "squared error",
        yTicks: [1e-6, 1e-4, 1e-2, 1]});
      const total = found.lost.map((v, i) => v + found.noise[i]);
      [found.lost, found.noise, total, found.best].forEach((values, i) =>
        below.line(overRings(values), LINES[i][1], LINES[i][2]));
      const {meanLost, meanNoise} = found, error = meanLost + meanNoise;
      say(`Expected error: ${(-10 * Math.log10(error)).toFixed(1)} dB. ` +
        `Lost detail is ${percent(meanLost / error)} of it, noise ${percent(meanNoise / error)}. ` +
        `The best λ for this σ is ${short(bestLambda(data, state.sigma))}.`);
    };
    redraw(top, show);
  };

  window.lemmseScenes.kinds.filter = mountFilter;
  Object.assign(window.lemmseScenes.compute, {filter, bestLambda});
})();
