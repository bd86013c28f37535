"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // A link into a closed section opens it.
  const reveal = () => {
    let target = null;
    try { target = document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { return; }
    if (!target) return;
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    target.scrollIntoView({ block: "start" });
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  // Commands can be copied.
  if (navigator.clipboard) {
    for (const line of all(".cmd")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(line.querySelector("code").textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1200);
      });
      line.append(button);
    }
  }

  // Requirements: words, `status:fail`, `level:must`; all words must match.
  const filter = document.getElementById("filter");
  if (filter) {
    filter.parentElement.hidden = false;
    const rows = all(".req");
    const areas = all(".area");
    const apply = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) row.hidden = !words.every((word) => row.dataset.text.includes(word));
      for (const area of areas) {
        const shown = all(".req", area).some((row) => !row.hidden);
        area.hidden = words.length > 0 && !shown;
        if (words.length > 0) area.open = shown;
      }
    };
    filter.addEventListener("input", apply);
    addEventListener("keydown", (event) => {
      if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
        event.preventDefault();
        filter.focus();
      }
    });
    const expand = document.getElementById("expand");
    expand.addEventListener("click", () => {
      const open = expand.textContent === "Expand all";
      for (const area of areas) area.open = open;
      expand.textContent = open ? "Collapse all" : "Expand all";
    });
  }

  // The matrix lights the row and column under the pointer.
  for (const table of all(".heat")) {
    const light = (event) => {
      for (const cell of all(".lit", table)) cell.classList.remove("lit");
      const cell = event.target.closest("td");
      if (event.type === "mouseleave" || !cell || cell.classList.contains("node")) return;
      const row = cell.parentElement;
      const index = [...row.children].indexOf(cell);
      for (const other of table.tBodies[0].rows) if (other.children[index]) other.children[index].classList.add("lit");
      for (const other of row.children) if (other.tagName === "TD" && !other.classList.contains("node")) other.classList.add("lit");
    };
    table.addEventListener("mouseover", light);
    table.addEventListener("mouseleave", light);
  }

  // The navigation follows the reader.
  const links = all("nav a").map((link) => [link, document.getElementById(link.hash.slice(1))]).filter(([, target]) => target);
  let waiting = false;
  const follow = () => {
    waiting = false;
    const passed = links.filter(([, target]) => target.getBoundingClientRect().top < 120);
    const [here] = passed.at(-1) || links[0];
    for (const [link] of links) link.classList.toggle("here", link === here);
  };
  addEventListener("scroll", () => {
    if (!waiting) requestAnimationFrame(follow);
    waiting = true;
  }, { passive: true });
  follow();
})();
