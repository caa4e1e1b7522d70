/**
 * What the devices of one place have in common: weather, people, working hours and traffic. All are functions of the seed of
 * the place and of the time, and the local time of the place is UTC.
 */
import { noise, pick, seedOf } from './random.ts'

export type SiteKind = 'home' | 'office' | 'factory'

export interface Site {
  readonly kind: SiteKind
  readonly seed: number
}

const locations: Readonly<Record<SiteKind, readonly [string, ...string[]]>> = {
  home: ['Hall', 'Kitchen', 'Living room', 'Bedroom', 'Garage', 'Garden'],
  office: ['Reception', 'Meeting room', 'Open space', 'Kitchen', 'Server room', 'Car park'],
  factory: ['Line 1', 'Line 2', 'Line 3', 'Warehouse', 'Gate', 'Workshop'],
}

/** Where in a place a device is, for people. */
export const locationOf = (kind: SiteKind, seed: number): string => pick(locations[kind], seed)

const minuteMs = 60_000
export const hourMs = 3_600_000
const dayMs = 24 * hourMs
const yearMs = 365.25 * dayMs

const stream = {
  weather: seedOf('weather'),
  wind: seedOf('wind'),
  pressure: seedOf('pressure'),
  people: seedOf('people'),
}

/** The hour of the day, 0 to below 24, with its fraction. */
const hourOf = (at: number): number => (at % dayMs) / hourMs
/** 1970-01-01 was a Thursday. */
const isWeekend = (at: number): boolean => [2, 3].includes(Math.floor(at / dayMs) % 7)

type Curve = readonly (readonly [hour: number, value: number])[]

/** The value of a curve of straight lines over one day. */
function onCurve(curve: Curve, hour: number): number {
  let [fromHour, fromValue] = curve[0] ?? [0, 0]
  for (const [toHour, toValue] of curve) {
    if (hour < toHour) return fromValue + ((toValue - fromValue) * (hour - fromHour)) / (toHour - fromHour)
    ;[fromHour, fromValue] = [toHour, toValue]
  }
  return fromValue
}

/** The share of people who move about, 0 to 1, by kind of place and day. */
const activity: Readonly<Record<SiteKind, { week: Curve; weekend: Curve }>> = {
  home: {
    week: [
      [0, 0.05],
      [5.5, 0.03],
      [7, 0.9],
      [8.5, 0.7],
      [9.5, 0.15],
      [16, 0.2],
      [18, 0.9],
      [21, 0.7],
      [23, 0.15],
      [24, 0.05],
    ],
    weekend: [
      [0, 0.1],
      [7, 0.05],
      [10, 0.7],
      [13, 0.6],
      [19, 0.8],
      [23, 0.3],
      [24, 0.1],
    ],
  },
  office: {
    week: [
      [0, 0.02],
      [6.5, 0.02],
      [8.75, 1],
      [11.5, 0.8],
      [12.5, 0.5],
      [13.5, 0.8],
      [16, 0.75],
      [17.5, 0.9],
      [19, 0.1],
      [24, 0.02],
    ],
    weekend: [
      [0, 0.01],
      [10, 0.06],
      [16, 0.05],
      [24, 0.01],
    ],
  },
  factory: {
    week: [
      [0, 0.1],
      [5.5, 0.15],
      [6, 1],
      [9.5, 0.85],
      [12, 0.6],
      [13.75, 0.9],
      [14, 1],
      [21.5, 0.8],
      [22.25, 0.15],
      [24, 0.1],
    ],
    weekend: [
      [0, 0.05],
      [8, 0.2],
      [14, 0.2],
      [24, 0.05],
    ],
  },
}

/** How busy the place is, 0 to 1: rush hours in the morning and in the evening, little at night and on days off. */
export function activityAt({ kind, seed }: Site, at: number): number {
  const curve = activity[kind][isWeekend(at) ? 'weekend' : 'week']
  const busy = onCurve(curve, hourOf(at)) * (1 + 0.15 * noise(seed ^ stream.people, at, 20 * minuteMs))
  return Math.min(1, Math.max(0, busy))
}

const traffic: Curve = [
  [0, 0.05],
  [6, 0.1],
  [8, 1],
  [9.5, 0.45],
  [15, 0.4],
  [17.5, 1],
  [19.5, 0.3],
  [24, 0.05],
]

/** How full the roads are, 0 to 1. */
export const trafficAt = (at: number): number => onCurve(traffic, hourOf(at)) * (isWeekend(at) ? 0.5 : 1)

/** Brightness outside, 0 to 1: dark before 06:00 and after 18:00, half an hour of dawn each time. */
export const daylightAt = (at: number): number =>
  Math.min(1, Math.max(0, 0.04 + 1.1 * Math.sin(((hourOf(at) - 6) / 12) * Math.PI)))

/** °C outside, -25 to 45: the year, the day with its warmest hour at 15:00, and weather that changes within days. */
export function outdoorTemperatureAt({ seed }: Site, at: number): number {
  const year = -9 * Math.cos((2 * Math.PI * ((at % yearMs) - 20 * dayMs)) / yearMs)
  const day = 5 * Math.cos((2 * Math.PI * (hourOf(at) - 15)) / 24)
  const weather = 5 * noise(seed ^ stream.weather, at, 3 * dayMs) + noise(seed ^ stream.wind, at, 2 * hourMs)
  return 11 + year + day + weather
}

/** Air pressure, hPa, 985 to 1041: the same for every device of the place. */
export const airPressureAt = ({ seed }: Site, at: number): number =>
  1013 + 22 * noise(seed ^ stream.pressure, at, 2 * dayMs) + 6 * noise(seed ^ stream.wind, at, 8 * hourMs)
