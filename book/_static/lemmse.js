// What the pages add to the theme: large data come when they are near, and nothing is too wide.
(() => {
  // The data of an explorer (book/_ext/finished_pages.py moved them into a file of their own).
  const load = (script) => {
    if (!script.isConnected) return;
    const loaded = document.createElement("script");
    loaded.src = script.dataset.src;
    loaded.async = false; // in order: that of a scene comes before its data
    script.replaceWith(loaded);
  };
  const waiting = [...document.querySelectorAll("script[data-src]")];
  const near = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      near.unobserve(entry.target);
      waiting.filter((script) => entry.target.contains(script)).forEach(load);
    }),
    { rootMargin: "1000px" },
  );
  waiting.forEach((script) => near.observe(script.closest("figure")));
  addEventListener("beforeprint", () => waiting.forEach(load));

  // All frames of an explorer come when a hand is on its way to the controls.
  document.querySelectorAll(".lemmse-explorer").forEach((figure) => {
    const fetchAll = () => figure.querySelectorAll("img").forEach((frame) => {
      frame.loading = "eager";
    });
    for (const sign of ["pointerenter", "touchstart", "focusin"])
      figure.addEventListener(sign, fetchAll, { once: true, passive: true });
  });

  // A formula inside a line that is wider than the column scrolls by itself.
  const markWide = () => {
    const lines = document.querySelectorAll("article mjx-container:not([display])");
    lines.forEach((formula) => formula.classList.remove("wide"));
    const room = (formula) => formula.closest("p, li, dd, td, th, figcaption, div").clientWidth;
    [...lines].filter((formula) => formula.offsetWidth > room(formula))
      .forEach((formula) => formula.classList.add("wide"));
  };
  const whenTypeset = () => window.MathJax?.startup?.promise?.then(markWide);
  addEventListener("load", whenTypeset);
  addEventListener("resize", whenTypeset);
})();
