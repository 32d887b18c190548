#!/bin/sh
# The machine behind one simulated BMC, called by ipmi_sim's chassis_control:
#   chassis.sh HOME get power|boot...    chassis.sh HOME set power|boot|reset|shutdown|identify VALUE...
# State is in files of HOME, each replaced as a whole, so that nobody reads half of one:
#   power (0 or 1)  boot (pxe, default, ...)  off_at, on_at (Unix time at which it will be off, or on)
#   log (every set, with its time)  shutdown_s, power_on_s (how long that takes, whole seconds)
# and the faults are flags: ignore_power, ignore_shutdown, refuse.
home=$1
operation=$2
shift 2

load() { value=$2; [ -f "$home/$1" ] && read -r value < "$home/$1"; }
save() { echo "$2" > "$home/.$1.$$" && mv "$home/.$1.$$" "$home/$1"; }

[ -f "$home/refuse" ] && { echo "refused on purpose"; exit 1; }

settle() {  # a shutdown, or a power-on, whose time has come is done
  load off_at ""
  [ -n "$value" ] && [ "$(date +%s)" -ge "$value" ] && { save power 0; rm -f "$home/off_at"; }
  load on_at ""
  [ -n "$value" ] && [ "$(date +%s)" -ge "$value" ] && { save power 1; rm -f "$home/on_at"; }
}

switch() {  # one that takes its time shows "off" until it is done, and is not told twice
  rm -f "$home/off_at"
  [ "$1" = 1 ] || { save power 0; rm -f "$home/on_at"; return; }
  load power_on_s 0
  [ "$value" -gt 0 ] || { save power 1; return; }
  load power 0
  [ "$value" = 1 ] || [ -f "$home/on_at" ] || { load power_on_s 0; save on_at $(($(date +%s) + value)); }
}

while [ -n "$1" ]; do
  what=$1
  shift
  case $operation in
  get)
    case $what in
    power) settle; load power 0; echo "power:$value" ;;
    boot) load boot default; echo "boot:$value" ;;
    *) echo "no such parameter: $what"; exit 1 ;;
    esac ;;
  set)
    wanted=$1
    shift
    [ "$what" = identify ] && [ $# -gt 0 ] && shift  # two values, sent as one word by 2.0.33
    echo "$(date +%s.%N) $what $wanted" >> "$home/log"
    case $what in
    power) [ -f "$home/ignore_power" ] || { settle; switch "$wanted"; } ;;
    boot) save boot "$wanted" ;;
    shutdown)
      [ -f "$home/ignore_power" ] || [ -f "$home/ignore_shutdown" ] || {
        load shutdown_s 0
        save off_at $(($(date +%s) + value))
        settle
      } ;;
    reset | identify) ;;
    *) echo "no such parameter: $what"; exit 1 ;;
    esac ;;
  check) exit 0 ;;
  *) echo "no such operation: $operation"; exit 1 ;;
  esac
done
exit 0
