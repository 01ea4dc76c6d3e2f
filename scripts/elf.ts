// How an executable lies in its file. The kernel can map 2 MB of a program at a time, with one fault instead of up to 32 and
// one entry of the TLB instead of 512, but only what lies in the file as it will lie in memory: at the same distance from
// a border of 2 MB. The linker of Bun aligns to pages alone.
// Format: the ELF specification, "Object Files" and "Program Loading"; 64 bits, little-endian.

/** What x86-64 and arm64 with pages of 4 KB map at once. */
export const HUGE = 2 << 20;
const LOAD = 1;

/** A program header, at its place in the file: where the segment is there, and in memory. */
interface Segment {
  at: number;
  type: number;
  offset: number;
  address: number;
  size: number;
}

/** The program headers of an executable. */
export function segments(file: Uint8Array): Segment[] {
  const view = viewOf(file);
  const [start, size, count] = [
    Number(view.getBigUint64(32, true)),
    view.getUint16(54, true),
    view.getUint16(56, true),
  ];
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * size;
    return {
      at,
      type: view.getUint32(at, true),
      offset: Number(view.getBigUint64(at + 8, true)),
      address: Number(view.getBigUint64(at + 16, true)),
      size: Number(view.getBigUint64(at + 32, true)),
    };
  });
}

/** The same executable with each loaded segment moved on in the file until it can be mapped by huge pages. Addresses stay. */
export function alignedToHugePages(file: Uint8Array): Uint8Array {
  const headers = segments(file);
  let moved = 0;
  const gaps = headers
    .filter(({ type }) => type === LOAD)
    .sort((a, b) => a.offset - b.offset)
    .map(({ offset, address }, index) => {
      // The first holds these headers, and stays where it is.
      const gap = index === 0 ? 0 : (((address - offset - moved) % HUGE) + HUGE) % HUGE;
      moved += gap;
      return { offset, gap };
    });
  const placed = (offset: number) => gaps.reduce((sum, each) => (each.offset <= offset ? sum + each.gap : sum), offset);

  const result = new Uint8Array(file.length + moved);
  for (const [index, { offset }] of gaps.entries()) {
    const from = index === 0 ? 0 : offset;
    result.set(file.subarray(from, gaps[index + 1]?.offset), placed(from));
  }
  const view = viewOf(result);
  const move = (at: number) => view.setBigUint64(at, BigInt(placed(Number(view.getBigUint64(at, true)))), true);
  for (const { at } of headers) move(at + 8);
  move(40);
  const [sections, size, count] = [
    Number(view.getBigUint64(40, true)),
    view.getUint16(58, true),
    view.getUint16(60, true),
  ];
  for (let index = 0; index < count; index++) move(sections + index * size + 24);
  return result;
}

function viewOf(file: Uint8Array): DataView {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (view.getUint32(0) !== 0x7f454c46 || view.getUint16(4) !== 0x0201)
    throw new Error("Cannot lay out the executable: it is no ELF file of 64 bits, little-endian");
  return view;
}
