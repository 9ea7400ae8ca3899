"use strict";
for (const life of document.querySelectorAll(".life")) {
  const places = JSON.parse(life.dataset.places);
  const xs = places.map((place) => Number(place[0]));
  const chart = life.querySelector(".chart");
  const cursor = chart.querySelector(".cursor");
  const spot = chart.querySelector(".spot");
  const readout = life.querySelector(".readout");
  const rows = [...life.querySelectorAll("tbody tr")];
  const names = [...life.querySelectorAll("th")].map((cell) => cell.textContent);
  let at = -1;

  function nearest(x) {
    let low = 0, high = xs.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle + 1; else high = middle;
    }
    return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
  }

  function select(index, reveal) {
    if (index === at) return;
    if (at >= 0) rows[at].classList.remove("here");
    at = index;
    rows[at].classList.add("here");
    if (reveal) rows[at].scrollIntoView({ block: "nearest" });
    const [x, y] = places[at];
    cursor.setAttribute("x1", x); cursor.setAttribute("x2", x);
    spot.setAttribute("cx", x); spot.setAttribute("cy", y);
    for (const part of [cursor, spot]) part.removeAttribute("visibility");
    const parts = [...rows[at].cells].slice(1).flatMap((cell, i) => {
      const value = document.createElement("b");
      value.textContent = cell.textContent;
      return i < 3 ? [value, " "] : [` ${names[i + 1]} `, value];
    });
    readout.replaceChildren(...parts);
  }

  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    select(nearest((event.clientX - box.left) / box.width * chart.viewBox.baseVal.width), false);
  });
  chart.addEventListener("click", () => rows[at]?.scrollIntoView({ block: "center", behavior: "smooth" }));
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    select(Math.min(Math.max(at + step, 0), rows.length - 1), false);
  });
  rows.forEach((row, index) => row.addEventListener("click", () => select(index, false)));
  life.querySelector(".only").addEventListener("change", (event) => {
    life.classList.toggle("filtered", event.target.checked);
  });
}
