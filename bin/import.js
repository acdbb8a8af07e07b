// import() in a file of its own: a Node that does not know the form must still be able to read irori.js.
"use strict";

module.exports = function importModule(url) {
  return import(url);
};
