-- charge_back.lua: count what was let in while the cache could not be asked, once for each receipt.
--
-- KEYS[1] usage   hash    as in charge.lua
-- KEYS[2] receipt string  marker: this receipt has been counted
-- ARGV[1] seconds the marker is kept
-- ARGV[2] Unix seconds at which it was let in, the first call of several; 0 = not known
-- then three per part of the receipt: field units starts_at
--
-- Returns {units counted, s}: summed over all quotas, and the sequence number that they got; {0, 0} for a receipt
-- seen before and for one whose windows are all past; {-1, 0} for an account that is not here or not believed (see
-- charge.lua): nothing was done, not even the marker.
--
-- Laws. Nothing is asked: these units are spent, and a quota may stand above its limit afterwards.
-- Each part goes to the window that a charge of that time would have gone to: the open one, also if that starts
-- later and had begun by then; or the one before (p), where settlement finds it. A window later than the stored one
-- begins with it, as in charge.lua.
-- What is older than both is not kept anywhere any more, and is dropped.
--
-- Cluster: both keys share the {customer} tag.   Cost: O(parts).
-- include counted.lua
local here = redis.call('HMGET', KEYS[1], 'v', 's', 'e')
if not here[1] or not here[3] or not history_is(here[3]) then return {-1, 0} end
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return {0, 0} end

local counted = 0
local function put(field, starts_at, units)
  redis.call('HSET', KEYS[1], field, format('%.0f|%.0f', starts_at, units))
end
local charged_at = ARGV[2] + 0
for i = 3, #ARGV, 3 do
  local field, units, starts_at = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local since, used = pair(redis.call('HGET', KEYS[1], field))
  if goes_on(since, starts_at, charged_at) then starts_at = since end
  if not since or since < starts_at then
    if since then put(before(field), since, used) end
    put(field, starts_at, units)
    counted = counted + units
  elseif since == starts_at then
    put(field, starts_at, used + units)
    counted = counted + units
  else
    local ended, ended_used = pair(redis.call('HGET', KEYS[1], before(field)))
    if not ended or ended < starts_at then ended, ended_used = starts_at, 0 end
    if ended == starts_at then
      put(before(field), starts_at, ended_used + units)
      counted = counted + units
    end
  end
end
if counted == 0 then return {0, 0} end
local seq = (here[2] or 0) + 1
redis.call('HSET', KEYS[1], 's', format('%.0f', seq))
return {counted, seq}
