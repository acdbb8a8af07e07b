#!/usr/bin/env node
// The command: runs the CLI in this process under Node 24, or finds a Node 24 and starts itself with it.
// Old syntax on purpose, so that a Node of any age can say what is missing. It knows nothing of the CLI.
"use strict";

var fs = require("fs");
var path = require("path");

var root = path.join(__dirname, "..");
var wantedMajor = 24;

function majorOf(version) {
  return parseInt(String(version).replace(/^v/, ""), 10);
}

function fail(text) {
  process.stderr.write("irori: " + text + "\n");
  process.exit(1);
}

/** A checkout runs its sources; an installed package its compiled form (Node strips no types in node_modules). */
function mainFile() {
  var source = path.join(root, "src", "cli", "main.ts");
  var compiled = path.join(root, "dist", "cli", "main.js");
  if (fs.existsSync(source)) return source;
  if (fs.existsSync(compiled)) return compiled;
  return fail("neither " + source + " nor " + compiled + " exists; install the package again");
}

function runHere() {
  require("module").enableCompileCache();
  require("./import.js")(require("url").pathToFileURL(mainFile()).href);
}

function versionOf(node) {
  var answer = require("child_process").spawnSync(node, ["--version"], { encoding: "utf8" });
  return answer.status === 0 ? String(answer.stdout).trim() : "";
}

/** Where a Node 24 may be: the checkout's own, that of the project we are installed in, the PATH. */
function candidates() {
  var name = process.platform === "win32" ? "node.exe" : "node";
  var own = ["node_modules", path.join("..", "..", "node_modules")].map(function (folder) {
    return path.join(root, folder, "node", "bin", name);
  });
  var folders = (process.env.PATH || process.env.Path || "").split(path.delimiter).filter(Boolean);
  return own.concat(
    folders.map(function (folder) {
      return path.join(folder, name);
    })
  );
}

function findNode() {
  var asked = process.env.IRORI_NODE;
  var version = asked ? versionOf(asked) : "";
  if (asked) {
    if (majorOf(version) >= wantedMajor) return asked;
    fail("IRORI_NODE: " + asked + " is " + (version || "no Node that runs") + ", wanted Node 24 or newer");
  }
  return candidates().filter(function (node) {
    return fs.existsSync(node) && majorOf(versionOf(node)) >= wantedMajor;
  })[0];
}

/** Hands signals on. A terminal's Ctrl-C reaches the child by itself; a copy would count as a second Ctrl-C. */
function forwardSignals(child) {
  var onTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  ["SIGINT", "SIGTERM", "SIGHUP"].forEach(function (signal) {
    process.on(signal, function () {
      if (signal !== "SIGINT" || !onTerminal) child.kill(signal);
    });
  });
}

function runThere(node) {
  var args = process.execArgv.concat(__filename, process.argv.slice(2));
  var child = require("child_process").spawn(node, args, { stdio: "inherit" });
  forwardSignals(child);
  child.on("error", function (error) {
    fail(node + " could not be started: " + error.message);
  });
  child.on("exit", function (code, signal) {
    if (!signal) process.exit(code);
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  });
}

function runThereOrSay() {
  var node = findNode();
  if (node) runThere(node);
  else fail("this is Node " + process.version + ", wanted 24 or newer; install Node 24 or name one in IRORI_NODE");
}

if (majorOf(process.version) >= wantedMajor) runHere();
else runThereOrSay();
