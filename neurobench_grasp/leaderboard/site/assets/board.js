/* Sorting and filtering of the boards; without it the tables stand in the order of their ranks. */
(function () {
  "use strict";
  var tables = Array.prototype.slice.call(document.querySelectorAll("table.board"));
  if (!tables.length) { return; }

  function value(row, at) {
    var text = row.cells[at].getAttribute("data-v");
    if (text === "") { return null; }
    var number = Number(text);
    return at === 1 || isNaN(number) ? text : number;
  }

  function sort(table, header, up) {
    var at = Number(header.getAttribute("data-col"));
    var body = table.tBodies[0];
    var rows = Array.prototype.map.call(body.rows, function (row) {
      return { row: row, v: value(row, at), order: Number(row.cells[0].getAttribute("data-v")) };
    });
    rows.sort(function (a, b) {
      if (a.v === b.v) { return a.order - b.order; }
      if (a.v === null) { return 1; } /* what is missing comes last, whichever way */
      if (b.v === null) { return -1; }
      return (a.v < b.v ? -1 : 1) * (up ? 1 : -1);
    });
    rows.forEach(function (one) { body.appendChild(one.row); });
    Array.prototype.forEach.call(table.tHead.querySelectorAll("[aria-sort]"), function (other) {
      other.removeAttribute("aria-sort");
    });
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
  }

  function letters(row) { return row.getAttribute("data-t").match(/[a-z]\d*/g) || []; }

  function mark(table, row) {
    var mine = row ? letters(row) : [];
    Array.prototype.forEach.call(table.tBodies[0].rows, function (other) {
      var tied = other !== row && letters(other).some(function (letter) { return mine.indexOf(letter) >= 0; });
      other.classList.toggle("tied", tied);
    });
  }

  tables.forEach(function (table) {
    Array.prototype.forEach.call(table.tHead.querySelectorAll("[data-col]"), function (header) {
      var label = header.querySelector(".sort");
      var button = document.createElement("button");
      button.type = "button";
      while (label.firstChild) { button.appendChild(label.firstChild); }
      label.appendChild(button);
      button.addEventListener("click", function () {
        var first = header.getAttribute("data-first") === "up";
        var now = header.getAttribute("aria-sort");
        sort(table, header, now ? now !== "ascending" : first);
      });
    });
    table.tHead.querySelector("[data-col='0']").setAttribute("aria-sort", "ascending");
    table.tBodies[0].addEventListener("pointerover", function (event) { mark(table, event.target.closest("tr")); });
    table.tBodies[0].addEventListener("pointerleave", function () { mark(table, null); });
    table.tBodies[0].addEventListener("focusin", function (event) { mark(table, event.target.closest("tr")); });
    table.tBodies[0].addEventListener("focusout", function () { mark(table, null); });
  });

  /* Headers stay in view where a table fits the page; else it scrolls within its box. */
  function fit() {
    tables.forEach(function (table) {
      var box = table.parentNode;
      box.classList.remove("fits");
      var fits = table.scrollWidth <= box.clientWidth;
      box.classList.toggle("fits", fits);
      if (fits) { box.removeAttribute("tabindex"); } else { box.setAttribute("tabindex", "0"); }
    });
  }
  addEventListener("resize", fit);
  fit();

  var form = document.getElementById("filter");
  var query = document.getElementById("q");
  var level = document.getElementById("level");
  var clean = document.getElementById("clean");
  var count = document.getElementById("count");

  function filter() {
    var text = query.value.trim().toLowerCase();
    var least = Number(level.value);
    var all = new Set();
    var shown = new Set();
    tables.forEach(function (table) {
      Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
        var name = row.cells[1].getAttribute("data-v");
        var fits = name.toLowerCase().indexOf(text) >= 0 &&
          Number(row.cells[row.cells.length - 1].getAttribute("data-v")) >= least &&
          !(clean.checked && row.cells[1].querySelector(".flag"));
        row.hidden = !fits;
        all.add(name);
        if (fits) { shown.add(name); }
      });
    });
    count.textContent = shown.size + " of " + all.size + " models shown";
  }

  form.hidden = false;
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  [query, level, clean].forEach(function (control) { control.addEventListener("input", filter); });
  filter();
})();
