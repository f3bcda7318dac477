import { defineConfig, devices, type PlaywrightTestConfig } from "@playwright/test";

const chromium = {
  browserName: "chromium" as const,
  locale: "fr-FR",
  timezoneId: "Europe/Paris",
  launchOptions: {
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  },
} satisfies PlaywrightTestConfig["use"];

/** tests/bot/channels/test_web_client.py starts the bot, and tells by BASE_URL where. */
export default defineConfig({
  testDir: "e2e",
  outputDir: "test-results",
  workers: 1,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  reporter: "list",
  use: {
    baseURL: process.env["BASE_URL"] ?? "http://127.0.0.1:5005",
    screenshot: "only-on-failure",
    ...chromium,
  },
  projects: [
    {
      name: "phone",
      use: { ...devices["Pixel 7"], ...chromium, viewport: { width: 360, height: 640 } },
    },
    {
      name: "desktop",
      use: { ...chromium, viewport: { width: 1280, height: 800 }, colorScheme: "dark" },
    },
  ],
});
