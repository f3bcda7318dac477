/** Drawings of 24 × 24; always beside a text or inside something that has a name. */
const PATHS = {
  menu: "M4 7h16M4 12h16M4 17h16",
  send: "M5 12h14M13 6l6 6-6 6",
  close: "M6 6l12 12M18 6 6 18",
  mail: "M3 6h18v12H3zM3.5 6.5 12 13l8.5-6.5",
  phone:
    "M6 3h3l1.6 4.6-2.2 1.6a12 12 0 0 0 6.4 6.4l1.6-2.2L21 15v3a3 3 0 0 1-3 3A15 15 0 0 1 3 6a3 3 0 0 1 3-3z",
  pin: "M12 21s-7-6.2-7-11.2a7 7 0 0 1 14 0C19 14.800 12 21 12 21zM12 12.300a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5z",
  calendar: "M4 6h16v14H4zM4 10.500h16M8 3v4M16 3v4",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  check: "M5 12.500l4.500 4.500L19 7.500",
  cross: "M7 7l10 10M17 7 7 17",
  retry: "M20 11a8 8 0 1 0-2.300 6.200M20 5v6h-6",
  cloud:
    "M3 3l18 18M8.500 8A5 5 0 0 0 7 18h9.500M10.500 5.700A6 6 0 0 1 17.800 10 4 4 0 0 1 20.500 16",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.500 11v5M13.500 11v5",
  down: "M12 5v14M6 13l6 6 6-6",
  install: "M12 4v11M7 11l5 5 5-5M5 20h14",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  chat: "M4 5h16v11H11l-4 4v-4H4zM8 9h8M8 12h5",
  bookmark: "M7 4h10v16l-5-4-5 4z",
  compare: "M4 5h6v14H4zM14 5h6v14h-6z",
  share: "M12 15V4M8 7.500 12 4l4 3.500M6 11H5v9h14v-9h-1",
  voice:
    "M12 4a2.500 2.500 0 0 1 2.500 2.500v5a2.500 2.500 0 0 1-5 0v-5A2.500 2.500 0 0 1 12 4zM6 11a6 6 0 0 0 12 0M12 17v4",
  thumb: "M7 4h9.500l3 8-1 2H14l1 5-1.500 1.500L8 14H7zM7 4H4v10h3",
  leave: "M14 4H5v16h9M10 12h11M17 8l4 4-4 4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo() {
  return (
    <svg class="logo" viewBox="0 0 48 48" aria-hidden="true" focusable="false">
      <rect class="logo-back" width="48" height="48" rx="13" />
      <path
        class="logo-bubble"
        d="M24 9c9 0 15.500 5.600 15.500 13S33 35 24 35c-1.600 0-3.200-.2-4.600-.5L12 39l1.500-7C10.300 29.600 8.500 26 8.500 22 8.500 14.600 15 9 24 9z"
      />
      <circle class="logo-dot" cx="24" cy="19" r="4.200" />
      <path class="logo-dot" d="M15.800 29.500a8.200 7 0 0 1 16.400 0z" />
    </svg>
  );
}
