import type { Page } from "@playwright/test";
import { still } from "./page";

/** Texts that are cut off, and things that lie on each other, anywhere on the page. */
export async function faults(page: Page): Promise<string[]> {
  await still(page);
  return page.evaluate(() => {
    /** So much, in pixels, is left to rounding and to the room that letters are given. */
    const TOLERANCE = 2;
    const found: string[] = [];
    const seen: { box: DOMRect; name: string; element: Element }[] = [];

    const intersection = (one: DOMRect, other: DOMRect) => {
      const [left, top] = [Math.max(one.left, other.left), Math.max(one.top, other.top)];
      const [right, bottom] = [
        Math.min(one.right, other.right),
        Math.min(one.bottom, other.bottom),
      ];
      return new DOMRect(left, top, Math.max(0, right - left), Math.max(0, bottom - top));
    };

    /** Note a box: what is seen of it, and whether something is missing that nothing brings back. */
    const look = (box: DOMRect, name: string, element: Element) => {
      if (box.width === 0 || box.height === 0) return;
      let visible = box;
      for (let at: Element | null = element; at && at !== document.body; at = at.parentElement) {
        const { overflowX, overflowY } = getComputedStyle(at);
        if (overflowX === "visible" && overflowY === "visible") continue;
        const frame = at.getBoundingClientRect();
        const inner = new DOMRect(
          frame.left + at.clientLeft,
          frame.top + at.clientTop,
          at.clientWidth,
          at.clientHeight,
        );
        const scrolls = /auto|scroll/.test(overflowY);
        const cut =
          box.left < inner.left - TOLERANCE ||
          box.right > inner.right + TOLERANCE ||
          (!scrolls && (box.top < inner.top - TOLERANCE || box.bottom > inner.bottom + TOLERANCE));
        if (cut) found.push(`cut off: ${name}`);
        visible = intersection(visible, inner);
      }
      if (box.left < -TOLERANCE || box.right > innerWidth + TOLERANCE) {
        found.push(`beyond the screen: ${name}`);
      }
      if (visible.width > 0 && visible.height > 0) seen.push({ box: visible, name, element });
    };

    const root = document.querySelector("dialog[open]") ?? document.body;
    for (const element of root.querySelectorAll("*")) {
      if (element.closest(".hidden, .skip, noscript, option") || !element.checkVisibility())
        continue;
      if (element.matches("svg, .level, .avatar, textarea, input, select")) {
        look(element.getBoundingClientRect(), element.outerHTML.slice(0, 60), element);
      }
      if (element.closest(".avatar")) continue;
      for (const node of element.childNodes) {
        if (node.nodeType !== Node.TEXT_NODE || !node.textContent?.trim()) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const box of range.getClientRects()) look(box, `« ${node.textContent} »`, element);
      }
    }
    seen.forEach((one, index) => {
      for (const other of seen.slice(index + 1)) {
        if (one.element === other.element) continue;
        const { width, height } = intersection(one.box, other.box);
        if (width > TOLERANCE && height > TOLERANCE) {
          found.push(`on each other: ${one.name} and ${other.name}`);
        }
      }
    });
    return found;
  });
}
