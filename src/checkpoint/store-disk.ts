// Writing on the store's disk: room is asked for first, failures are sentences with numbers, renames are durable.
// It does not know what is written.

import { constants, type FileHandle, open, readdir, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { IroriError } from "../base/mod.ts";

/** What the store asks of a disk; tests give a full one. */
export interface Disk {
  freeBytes(folder: string): Promise<number>;
  /** Creates a file that must not exist. */
  create(path: string): Promise<DiskFile>;
  /** Opens a file for writing anywhere in it; it is made where it is missing. */
  edit(path: string): Promise<DiskFile>;
  /** A small file that is replaced as a whole. */
  replace(path: string, text: string): Promise<void>;
}

export interface DiskFile {
  /** At the end of what was written before. */
  write(bytes: Uint8Array): Promise<void>;
  writeAt(bytes: Uint8Array, position: number): Promise<void>;
  /** Flushes to the device. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export const realDisk: Disk = {
  async freeBytes(folder) {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
  create: async (path) => diskFile(await open(path, "wx")),
  edit: async (path) => diskFile(await open(path, constants.O_RDWR | constants.O_CREAT)),
  async replace(path, text) {
    const beside = `${path}.new`;
    await writeFile(beside, text, { flush: true });
    await rename(beside, path);
  },
};

function diskFile(handle: FileHandle): DiskFile {
  let end = 0;
  const writeAt = async (bytes: Uint8Array, position: number) => {
    for (let done = 0; done < bytes.length; )
      done += (await handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  };
  return {
    async write(bytes) {
      await writeAt(bytes, end);
      end += bytes.length;
    },
    writeAt,
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}

export interface WriteIntent {
  readonly disk: Disk;
  /** Folder that must hold it. */
  readonly folder: string;
  /** What is being written, for the sentence. */
  readonly writing: string;
  readonly neededBytes?: number | undefined;
}

/** Errors of the store's own disk: another source would not help. */
const ourDisk = new WeakSet<IroriError>();
export const isOurDisk = (error: IroriError): boolean => ourDisk.has(error);

function diskError(...args: ConstructorParameters<typeof IroriError>): IroriError {
  const error = new IroriError(...args);
  ourDisk.add(error);
  return error;
}

/** Refuses a write that cannot fit before it begins. */
export async function checkRoom(intent: WriteIntent): Promise<void> {
  const { disk, folder, writing, neededBytes } = intent;
  if (neededBytes === undefined) return;
  const free = await disk.freeBytes(folder);
  if (free >= neededBytes) return;
  throw diskError("io", {
    what: `${folder}: no room for ${writing}`,
    got: `${free} bytes free`,
    wanted: `${neededBytes}`,
    next: "free some space (irori rm NAME) or set IRORI_HOME to another disk",
  });
}

/** Runs `write`; what the disk refuses becomes a sentence with the bytes needed and free. */
export async function writing<T>(intent: WriteIntent, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    if (cause instanceof IroriError) throw cause;
    const { code, syscall } = cause as NodeJS.ErrnoException;
    if (code === undefined || syscall === undefined) throw cause; // not the disk's: a fault of the program
    throw diskError("io", {
      what: `${intent.folder}: writing ${intent.writing} failed`,
      got: `${code}${await figures(intent)}`,
      next: nextStep(code),
      cause,
    });
  }
}

async function figures({ disk, folder, neededBytes }: WriteIntent): Promise<string> {
  const free = await disk.freeBytes(folder).catch(() => undefined); // the folder itself may be what is missing
  const needed = neededBytes === undefined ? "" : `, ${neededBytes} bytes needed`;
  return `${needed}${free === undefined ? "" : `, ${free} bytes free`}`;
}

function nextStep(code: string): string {
  if (code === "ENOSPC" || code === "EDQUOT")
    return "free some space (irori rm NAME) or set IRORI_HOME to another disk";
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") return "set IRORI_HOME to a folder that you can write";
  return "check the disk and try again";
}

/** Flushes the names in a folder; platforms that cannot open a folder keep names durable themselves. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Flushes every file and folder under `folder`. */
export async function syncTree(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await syncTree(path);
    else {
      const handle = await open(path, "r+");
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    }
  }
  await syncFolder(folder);
}

/** Bytes of all files under `path`; 0 for what is not there (it may be moved or removed while this looks). */
export async function bytesUnder(path: string): Promise<number> {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isDirectory()) return info?.size ?? 0;
  let bytes = 0;
  for (const name of await readdir(path).catch(() => [])) bytes += await bytesUnder(join(path, name));
  return bytes;
}

export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return false;
      throw new IroriError("io", { what: `${path}: the disk refused`, got: error.code, cause: error });
    },
  );
}

export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
}
