// Text from a file as it may stand in an error sentence: short, and nothing that a terminal would obey.
// It does not know what the text means.

export function printable(text: string, most = 200): string {
  const cut = text.length > most ? `${text.slice(0, most)}…` : text;
  return cut.replace(/\p{C}/gu, "\ufffd");
}

export function quoted(text: string, most = 80): string {
  return printable(JSON.stringify(text.length > most ? `${text.slice(0, most)}…` : text), 8 * most);
}
