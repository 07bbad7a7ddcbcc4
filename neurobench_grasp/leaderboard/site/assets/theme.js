/* Runs before the page is drawn, so that a chosen theme does not flash. */
(function () {
  "use strict";
  var key = "ngb-theme";
  var root = document.documentElement;
  root.classList.add("js");
  function stored() {
    try { return localStorage.getItem(key); } catch (e) { return null; }
  }
  function dark() {
    var chosen = root.getAttribute("data-theme");
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }
  var chosen = stored();
  if (chosen === "dark" || chosen === "light") { root.setAttribute("data-theme", chosen); }
  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    function name() { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", (dark() ? "Light" : "Dark") + " theme"); }
    button.hidden = false;
    name();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
    button.addEventListener("click", function () {
      var next = dark() ? "light" : "dark";
      root.setAttribute("data-theme", next);
      try { localStorage.setItem(key, next); } catch (e) { /* it holds for this page */ }
      name();
    });
  });
})();
