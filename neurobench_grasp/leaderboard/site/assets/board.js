/* Sorting and filtering of the boards, kept in the address; without it the tables stand in the order of their ranks. */
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

  function all(selector, within) { return Array.prototype.slice.call((within || document).querySelectorAll(selector)); }

  function letters(row) { return row.getAttribute("data-t").match(/[a-z]\d*/g) || []; }

  /* Marks the models that tie with a row, and the row in the scatter plots. */
  function mark(table, row) {
    var mine = row ? letters(row) : [];
    Array.prototype.forEach.call(table.tBodies[0].rows, function (other) {
      var tied = other !== row && letters(other).some(function (letter) { return mine.indexOf(letter) >= 0; });
      other.classList.toggle("tied", tied);
      other.classList.toggle("near", other === row);
    });
    all("a[data-row]", table.closest(".ranking")).forEach(function (point) {
      point.classList.toggle("near", Boolean(row) && point.getAttribute("data-row") === row.id);
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
        var up = now ? now !== "ascending" : first;
        sort(table, header, up);
        sorted = [table.id, header.getAttribute("data-key"), up ? "up" : "down"].join(".");
        save();
      });
    });
    table.tHead.querySelector("[data-col='0']").setAttribute("aria-sort", "ascending");
    table.tBodies[0].addEventListener("pointerover", function (event) { mark(table, event.target.closest("tr")); });
    table.tBodies[0].addEventListener("pointerleave", function () { mark(table, null); });
    table.tBodies[0].addEventListener("focusin", function (event) { mark(table, event.target.closest("tr")); });
    table.tBodies[0].addEventListener("focusout", function () { mark(table, null); });
    all("a[data-row]", table.closest(".ranking")).forEach(function (point) {
      point.addEventListener("pointerenter", function () { mark(table, document.getElementById(point.getAttribute("data-row"))); });
      point.addEventListener("pointerleave", function () { mark(table, null); });
    });
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

  var form = document.getElementById("filter");
  var controls = all("[name]", form);
  var count = document.getElementById("count");
  var sorted = "";

  function state() {
    var found = {};
    controls.forEach(function (control) {
      found[control.name] = control.type === "checkbox" ? (control.checked ? control.value : "") : control.value.trim();
    });
    return found;
  }

  /* The address holds what differs from the page as it was opened, so that a view can be linked. */
  function save() {
    var found = state();
    var asked = new URLSearchParams();
    Object.keys(found).forEach(function (name) { if (found[name]) { asked.set(name, found[name]); } });
    if (sorted) { asked.set("sort", sorted); }
    var query = asked.toString();
    try { history.replaceState(null, "", location.pathname + (query ? "?" + query : "") + location.hash); } catch (e) { /* the view is shown all the same */ }
  }

  function load() {
    var asked = new URLSearchParams(location.search);
    controls.forEach(function (control) {
      var value = asked.get(control.name);
      if (value === null) { return; }
      if (control.type === "checkbox") { control.checked = value === control.value; return; }
      var known = !control.options || Array.prototype.some.call(control.options, function (o) { return o.value === value; });
      if (known) { control.value = value; }
    });
    var wanted = (asked.get("sort") || "").split(".");
    tables.forEach(function (table) {
      all("[data-key]", table.tHead).forEach(function (header) {
        if (table.id !== wanted[0] || header.getAttribute("data-key") !== wanted[1]) { return; }
        sort(table, header, wanted[2] === "up");
        sorted = wanted.join(".");
      });
    });
  }

  function filter() {
    var asked = state();
    var known = new Set();
    var shown = new Set();
    tables.forEach(function (table) {
      var board = table.closest(".ranking");
      board.hidden = ["dataset", "area", "body", "protocol"].some(function (name) {
        return asked[name] && board.getAttribute("data-" + name) !== asked[name];
      });
      Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
        var name = row.cells[1].getAttribute("data-v");
        var fits = name.toLowerCase().indexOf(asked.q.toLowerCase()) >= 0 &&
          Number(row.cells[row.cells.length - 1].getAttribute("data-v")) >= Number(asked.level) &&
          (!asked.action || row.getAttribute("data-action") === asked.action) &&
          !(asked.clean && row.cells[1].querySelector(".flag"));
        row.hidden = !fits;
        known.add(name);
        if (fits && !board.hidden) { shown.add(name); }
      });
      all("a[data-row]", board).forEach(function (point) {
        point.classList.toggle("gone", document.getElementById(point.getAttribute("data-row")).hidden);
      });
    });
    all("main > section").forEach(function (section) {
      var boards = all(".ranking", section);
      section.hidden = boards.length > 0 && boards.every(function (board) { return board.hidden; });
    });
    count.textContent = shown.size + " of " + known.size + " models shown";
  }

  load();
  form.hidden = false;
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  controls.forEach(function (control) { control.addEventListener("input", function () { filter(); save(); }); });
  filter();
  fit();
})();
