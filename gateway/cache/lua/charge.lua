-- charge.lua: spend one request's cost on every limit at once, or on none of them.
--
-- KEYS[1] usage    hash    v account version, e history it belongs to, t highest now_ms of any write,
--                          s sequence number, k the last one that is in what was restored (publish.lua),
--                          r:... "at_ms|debt", q:... "window_starts_at|used",
--                          p:... what the q:... of that name held when its window ended
-- KEYS[2] account  string  the account as JSON; read only if the caller's version is not current
-- KEYS[3...] live    sorted set  id of a call in progress -> the ms when it stops to count;
--                          only where a claim names one
-- ARGV[1] version the caller decided on; '' = no account stands behind these limits
-- ARGV[2] now_ms, 0 = the server's own clock
-- ARGV[3] usage expires this many ms after the charge; 0 = leave its expiry alone
-- ARGV[4] the claims, as little-endian doubles, one after the other:
--   units >= 1, cost * window_ms, burst * window_ms      a rate:  debt is in units * window_ms
--   0, cost, limit, starts_at, ends_at                   a quota: Unix seconds, end exclusive
--   -1, cost, limit, starts_at, ends_at                  a quota that takes what it can; the next claim, a
--                                                        quota of the same cost, is asked for the rest
--   -2, 1, limit, n                                      a place among the calls in progress in KEYS[n]
-- then one field per claim; then, if there are more than two KEYS, the id of the call that begins
--
-- Returns {1, now_ms, owed..., s} charged    {0, now_ms, owed..., 0} refused
--         {2, now_ms, version, account} the account has changed; '' for one that is too large to wait for
--         {3, now_ms} no account that can be believed    {4, now_ms} a quota's window does not contain now
--   with one number per claim, as before the decision: the debt of a rate, what is used of a quota,
--   the calls in progress; then zeros, if there are fewer than three; then the sequence number that the charge got,
--   0 if it spent nothing. What is left and for how long follows (scripts.py).
--
-- Laws. A refusal writes nothing, not even t. A charge of nothing (no claims, or all of cost 0)
-- writes nothing either, and is refused all the same where a limit is overdrawn. Time is never
-- behind t, while t is ahead of the clock by no more than the clocks of two servers may differ. A t
-- further ahead was written by a clock that was wrong: then t and the instants of the claimed rates
-- move to the clock's time, also by a refusal, and debts stay, so that a bucket refills from now on;
-- over any stretch of time that passes, a rate still admits its burst and what it gains, at most.
-- A chain, which is claims of kind -1 and the quota that ends it, spends its cost once: each takes
-- what it can in their order, nothing if it is overdrawn, and the last must cover the rest.
-- Every number stays an exact integer: what a rate can hold is below 2^53 by the caller's check, and
-- is compared by subtraction, so that no sum exceeds it; numbers are written by %d or by the server,
-- never as Lua would (14 digits). A rate gains `units` per window:
-- debt = max(0, debt - (now - at) * units), allowed iff debt + cost * window <= burst * window.
-- A quota whose stored window starts later than the claimed one, but has begun (the account was moved back to
-- earlier dates), keeps counting in the stored one: the count never restarts. The first charge of a
-- later window moves the count before to p, where settlement finds what it had not read yet: one
-- window per quota is kept, so what is counted is settled unless no settlement works for a whole window.
-- A stored window that has not begun is as t: if it begins within the tolerance, time is there already.
-- Further ahead it was opened by a clock that was wrong, and what it counts was spent now: it is added to what p
-- has of the claimed window, also by a refusal, and the window ahead begins from zero when it comes.
-- A call in progress counts until its ms, which the worker that has it moves on (renew.lua): those of a
-- worker that died stop to count by themselves. What lies further ahead than any charge writes was
-- written by a clock that was wrong, and does not count. A call is in all of its sets or in none.
-- The server gives its data a new replication id whenever it may have become older: when it starts,
-- and when a replica is promoted. Usage with another id than the server's is not believed: it
-- counts as not here, until publish.lua has held it against the ledger. Where the server does not
-- tell its id, publish.lua has written '', and that is believed.
--
-- Cluster: all keys share the {customer} tag.   Cost: O(claims): one HMGET, one HSET if charged; for a
-- place O(log calls in progress), and three more calls if charged.
-- Every request runs this: calls, tables and strings are what costs, so there are few of them.
local TOLERANCE_MS, LIVE_MS = 5000, 30000 -- keyspace.CLOCK_TOLERANCE_MS, keyspace.LIVE_MS
local MOST = 9007199254740991
local LARGE = 262144 -- bytes: others' calls wait behind an answer on the same connection, and its deadline is theirs
local call, find, sub, format, read = redis.call, string.find, string.sub, string.format, struct.unpack

local stored = call('HMGET', KEYS[1], 'v', 't', 's', 'e', unpack(ARGV, 5)) -- a claim's field: at its place in ARGV
local now = ARGV[2] + 0
if now == 0 then
  local time = call('TIME')
  local us = time[2] + 0
  now = time[1] * 1000 + (us - us % 1000) / 1000
end
local seen = (stored[2] or 0) + 0
local was_ahead = seen > now + TOLERANCE_MS
if not was_ahead and seen > now then now = seen end

if ARGV[1] ~= '' then
  local version, history, info = stored[1], stored[4], redis.pcall('INFO', 'replication')
  if not version or not history then return {3, now} end
  if type(info) ~= 'string' then
    if history ~= '' then return {3, now} end
  elseif not find(info, 'master_replid:' .. history .. '\r', 1, true) then
    return {3, now}
  end
  if version ~= ARGV[1] then
    local account = call('GET', KEYS[2])
    if not account then return {3, now} end
    if #account > LARGE then account = '' end
    return {2, now, tonumber(version), account}
  end
end

local reply = {1, now, 0, 0, 0, 0} -- with places for three claims: a table that grows is expensive
local writes, n = {'t', 0, 's', 0, 0, 0, 0, 0, 0, 0}, 4
local seq, is_recounted = (stored[3] or 0) + 1, false
local moved, gone, spends, at, live, rest = nil, nil, false, 1, nil, nil -- rest: of the chain we are in
local last = #KEYS > 2 and #ARGV - 1 or #ARGV
for i = 5, last do
  local field, value, owed = ARGV[i], stored[i], 0
  local units, need, room, since, before
  units, need, room, at = read('<ddd', ARGV[4], at)
  if value then -- "a|b" -> a, b
    local bar = find(value, '|', 1, true)
    since, before = sub(value, 1, bar - 1) + 0, sub(value, bar + 1) + 0
  end
  if units > 0 then
    if value then
      if since > now then
        moved = moved or {}
        moved[#moved + 1], moved[#moved + 2] = field, format('%d|%d', now, before)
        since = now
      end
      owed = before - (now - since) * units
      if owed < 0 then owed = 0 end
    end
    since = now
  elseif units == -2 then
    local n
    n, at = read('<d', ARGV[4], at)
    owed = call('ZCOUNT', KEYS[n], format('(%d', now), format('%d', now + LIVE_MS + TOLERANCE_MS))
    live = live or {}
    live[#live + 1] = KEYS[n]
  else
    local starts_at, ends_at
    starts_at, ends_at, at = read('<dd', ARGV[4], at)
    if now < starts_at * 1000 or now >= ends_at * 1000 then return {4, now} end
    if value and since * 1000 > now then
      if since * 1000 <= now + TOLERANCE_MS then
        call('HSET', KEYS[1], 't', since * 1000)
        return {4, since * 1000}
      end
      local ended = 'p' .. sub(field, 2)
      local known = call('HGET', KEYS[1], ended)
      local bar = known and find(known, '|', 1, true)
      local began = known and sub(known, 1, bar - 1) + 0
      since = starts_at
      if known and began >= starts_at and began * 1000 <= now then
        since, before = began, math.min(MOST, before + sub(known, bar + 1))
        gone = gone or {}
        gone[#gone + 1] = ended
      end
      value, moved = format('%d|%d', since, before), moved or {}
      moved[#moved + 1], moved[#moved + 2] = field, value
      is_recounted = true
    end
    local is_kept = value and since >= starts_at
    if is_kept then owed = before end
    if rest or units < 0 then
      need = rest or need
      local takes = room - owed
      if takes < 0 then takes = 0 end
      if takes > need then takes = need end
      if units < 0 then
        rest, need = need - takes, takes
      else
        rest = nil
      end
      if need == 0 then room = owed end -- an overdrawn quota of a chain is passed over, and refuses nothing
    end
    if not is_kept then
      since = starts_at
      if value and need > 0 then
        writes[n + 1], writes[n + 2] = 'p' .. sub(field, 2), value
        n = n + 2
      end
    end
  end
  reply[i - 2] = owed
  if need > room - owed then
    reply[1] = 0
  elseif need > 0 and units ~= -2 then
    spends = true
    writes[n + 1], writes[n + 2] = field, format('%d|%d', since, owed + need)
    n = n + 2
  end
end

if moved or (was_ahead and last > 4) then
  moved = moved or {}
  if was_ahead then moved[#moved + 1], moved[#moved + 2] = 't', now end
  if is_recounted then moved[#moved + 1], moved[#moved + 2] = 's', seq end
  call('HSET', KEYS[1], unpack(moved))
  if gone then call('HDEL', KEYS[1], unpack(gone)) end
end
if spends and reply[1] == 1 then
  writes[2], writes[4] = now, seq
  call('HSET', KEYS[1], unpack(writes, 1, n))
  if ARGV[3] ~= '0' then call('PEXPIRE', KEYS[1], ARGV[3]) end
end
if live and reply[1] == 1 then
  for i = 1, #live do
    call('ZREMRANGEBYSCORE', live[i], '-inf', format('%d', now))
    call('ZADD', live[i], format('%d', now + LIVE_MS), ARGV[#ARGV])
    call('PEXPIRE', live[i], LIVE_MS)
  end
end
reply[last > 7 and last - 1 or 6] = writes[4]
return reply
