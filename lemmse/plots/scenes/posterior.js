// One posterior in one dimension, with its mode, its median and its mean.
(() => {
  "use strict";
  const {
    sum, range, clamp, steps, make, slider, choice, draggable, speaker, BLUE, RED, PURPLE,
    chart, legend, svgIn, redraw} = window.lemmseScenes.tools;

  const GRID = range(3201).map(i => -8 + 0.005 * i);
  const bell = (x, m, s) => Math.exp(-((x - m) ** 2) / (2 * s * s)) / (s * Math.sqrt(2 * Math.PI));
  const priors = {
    "two modes": x => (bell(x, -1, 0.25) + bell(x, 1, 0.25)) / 2,
    sparse: x => Math.exp(-Math.abs(x) / 0.5),
    Gaussian: x => bell(x, 0, 0.7),
  };
  const normalised = density => {
    const total = sum(density) * 0.005;
    return density.map(v => v / total);
  };
  const priorOnGrid = Object.fromEntries(
    Object.entries(priors).map(([name, p]) => [name, normalised(GRID.map(p))]));
  const bayes = (data, {prior, y, sigma}) => {
    const density = normalised(
      priorOnGrid[prior].map((p, i) => p * Math.exp(-((y - GRID[i]) ** 2) / (2 * sigma * sigma))));
    let top = 0, below = 0, median = 0, mean = 0;
    density.forEach((v, i) => {
      if (v > density[top]) top = i;
      if (below < 0.5) median = i;
      below += v * 0.005;
      mean += v * GRID[i] * 0.005;
    });
    return {density, MAP: GRID[top], median: GRID[median], MMSE: mean};
  };

  const mountPosterior = (live, data) => {
    const state = {...data.start}, controls = make(live, "div", {class: "controls"});
    choice(controls, "prior", Object.keys(priors).map(name => [name, name]), state.prior,
      value => { state.prior = value; show(); });
    const setY = slider(controls, "measurement y", {low: -2.5, high: 2.5, text: v => v.toFixed(2)},
      state.y, value => { state.y = value; show(); });
    slider(controls, "noise level σ", {low: 0.1, high: 2, log: true}, state.sigma,
      value => { state.sigma = value; show(); });
    const ANSWERS = [["MAP", "#1a1a1a", "7 4"], ["median", "#777", "2 3"], ["MMSE", RED]];
    legend(live, [["prior", "#777"], ["likelihood", PURPLE, "2 3"], ["posterior", BLUE]]);
    const top = svgIn(live, `${data.alt}. Arrow keys move the measurement.`, true);
    legend(live, ANSWERS);
    const bottom = svgIn(live, "The three answers as functions of the measurement");
    const say = speaker(live), X = [-2.5, 2.5], every = steps(...X, 250);
    const near = GRID.map((x, i) => [x, i]).filter(([x]) => Math.abs(x) <= 2.5);
    let key, answers;
    const show = () => {
      const found = bayes(data, state), prior = priorOnGrid[state.prior];
      const axis = {x: X, xTicks: [-2, -1, 0, 1, 2]};
      const above = chart(top, {...axis, y: [0, 2.2], yTicks: [0, 1, 2], xLabel: "x",
        yLabel: "density"});
      above.line(near.map(([x, i]) => [x, prior[i]]), "#777");
      above.line(every.map(x => [x, bell(x, state.y, state.sigma)]), PURPLE, "2 3");
      above.line([[-2.5, 0], ...near.map(([x, i]) => [x, found.density[i]]), [2.5, 0]], BLUE, "",
        BLUE);
      ANSWERS.forEach(([name, color, dash]) =>
        above.line([[found[name], 0], [found[name], 2.2]], color, dash));
      if (key !== `${state.prior} ${state.sigma}`) {
        key = `${state.prior} ${state.sigma}`;
        answers = steps(...X, 100).map(y => [y, bayes(data, {...state, y})]);
      }
      const below = chart(bottom, {...axis, y: X, yTicks: [-2, 0, 2], xLabel: "measurement y",
        yLabel: "answer"});
      ANSWERS.forEach(([name, color, dash]) => {
        below.line(answers.map(([y, all]) => [y, all[name]]), color, dash);
        below.dot(state.y, found[name], color);
      });
      say(`y = ${state.y.toFixed(2)}: MAP ${found.MAP.toFixed(2)}, median ` +
        `${found.median.toFixed(2)}, MMSE ${found.MMSE.toFixed(2)}.`);
    };
    const move = y => { state.y = clamp(y, ...X); setY(state.y); show(); };
    draggable(top, x => move(-2.5 + 5 * (x * top.viewBox.baseVal.width - 52) /
      (top.viewBox.baseVal.width - 62)), right => move(state.y + 0.05 * right));
    redraw(top, show);
  };

  window.lemmseScenes.kinds.posterior = mountPosterior;
  Object.assign(window.lemmseScenes.compute, {bayes});
})();
