"""Faults on the way from a Stripe event to access."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_ACCESS, _PROJECTION = "gateway/core/access.py", "gateway/core/projection.py"
_CANDIDATE = "gateway/core/candidate.py"
_SUBSCRIPTIONS, _INBOX = "gateway/ledger/subscriptions.py", "gateway/ledger/inbox.py"
_SYNCED = (
    "        outcome = await self._sync.sync_customer("
    'customer_id, f"{last.type} {last.event_id}", event_id=last.event_id)\n'
)
_CUSTOMERS, _WORKER, _JUDGING = "gateway/sync/customers.py", "gateway/sync/worker.py", "gateway/sync/judging.py"
_RECEIVING, _WEBHOOK = "gateway/sync/receiving.py", "gateway/billing/webhook.py"
_OF_ACCESS, _OF_PROJECTION = ("tests/core/test_access.py",), ("tests/core/test_projection.py",)
_OF_SYNC, _OF_WORKER = ("tests/billing/test_sync.py",), ("tests/billing/test_worker.py",)
_TOGETHER, _OF_TOGETHER = "gateway/ledger/together.py", ("tests/ledger/test_together.py",)
_SWEEPING, _OF_SWEEPING = "gateway/sync/sweeping.py", ("tests/billing/test_sweeping.py", "tests/billing/test_worker.py")
_THIN, _OF_THIN = "gateway/sync/told_thinly.py", ("tests/billing/test_missed_thin_events.py",)
_OF_TOLD = ("tests/billing/test_told_thinly.py",)
_PACE, _OF_PACE = "gateway/billing/pace.py", ("tests/billing/test_pace.py",)
_FIRST, _OF_FIRST = "gateway/billing/first_payments.py", ("tests/billing/test_first_payment.py",)
_CHECKOUT, _OF_SECOND = "gateway/checkout.py", ("tests/billing/test_second_subscription.py",)
_TRIALS, _OF_TRIALS = "gateway/sync/trials.py", ("tests/billing/test_trial_changes.py",)
_OF_DEBITS = ("tests/billing/test_debits.py",)
_OF_INBOX = ("tests/ledger/test_inbox.py",)
_OF_RECEIVING, _OF_LIVES = ("tests/billing/test_receiving.py",), ("tests/lives/test_lives.py",)
_READ = (
    "        facts = await read_facts(self.billing, self._ledger, self.policy, customer_id, row.stripe_customer_id)\n"
)

MUTANTS = (
    Mutant(
        "there is no fence: what was read last is written last",
        _SUBSCRIPTIONS,
        "    if fence <= row.applied_fence or",
        "    if fence < 0 or",
        _OF_SYNC,
    ),
    Mutant(
        "the fence is taken after Stripe was read",
        _CUSTOMERS,
        f"{_READ}        if not facts",
        f"{_READ}        fence = await self._ledger.take_fence(customer_id)\n        if not facts",
        _OF_SYNC,
    ),
    Mutant(
        "what an event says is applied and Stripe is not read again",
        _JUDGING,
        _SYNCED,
        "        import json, stripe\n"
        "        from gateway.billing.reading import read_subscription\n"
        "        from gateway.core.billing_facts import CustomerFacts\n"
        "        from gateway.sync.customers import Cause\n"
        '        told = json.loads(last.payload)["data"]["object"]\n'
        "        outcome = None\n"
        '        if told["object"] == "subscription" and "items" in told:\n'
        "            one = stripe.Subscription.construct_from(told, None)\n"
        "            facts = CustomerFacts(\n"
        '                stripe_customer_id=told["customer"],\n'
        "                exists=True,\n"
        '                subscriptions=(read_subscription(one, one["items"].data),),\n'
        "            )\n"
        "            row = await self._ledger.find_customer(customer_id)\n"
        "            fence = await self._ledger.take_fence(customer_id)\n"
        "            outcome = await self._sync._record(row, fence, facts, Cause(because=last.event_id))\n"
        "        if outcome is None:\n"
        '            outcome = await self._sync.sync_customer(customer_id, f"{last.type} {last.event_id}")\n',
        _OF_LIVES,
    ),
    Mutant(
        "an event is done before its work is",
        _WORKER,
        "        verdicts = await self._judge.judge(rows, self._judge.owner_of(rows[0]))\n",
        '        await self.in_hand.finish(rows, "applied")\n'
        "        verdicts = await self._judge.judge(rows, self._judge.owner_of(rows[0]))\n",
        _OF_WORKER,
    ),
    Mutant(
        "every event begins the grace period again",
        _CANDIDATE,
        "    known = (one.past_due_since for one in (own, previous) if one is not None)\n",
        "    known = (None,)\n",
        _OF_PROJECTION,
    ),
    Mutant(
        "a status that nobody knows forgets since when a payment is due",
        _CANDIDATE,
        "        return None if own is None else own.past_due_since\n",
        "        return None\n",
        _OF_PROJECTION,
    ),
    Mutant(
        "any invoice begins the quota again",
        _CANDIDATE,
        "        quota_anchor_at=_quota_anchor(facts, own, now),\n",
        "        quota_anchor_at=now,\n",
        _OF_PROJECTION,
    ),
    Mutant(
        "a period that has not ended grants access whatever the status is",
        _ACCESS,
        "    if until is not None and now >= until:\n",
        "    if until is not None and now >= max(until, subscription.period_ends_at):\n",
        _OF_ACCESS,
    ),
    Mutant(
        "the end of what one subscription gave ends what another one pays for",
        _ACCESS,
        "    return next(granting, None) or max(rows, key=lambda row: nearness(row[0]))[1]\n",
        "    return account\n",
        _OF_PROJECTION,
    ),
    Mutant(
        "what was known of a subscription is forgotten while another one counts",
        _CANDIDATE,
        "    own = None if previous is None else previous.find(facts.subscription_id)\n",
        "    own = previous if previous and previous.subscription_id == facts.subscription_id else None\n",
        _OF_PROJECTION,
    ),
    Mutant(
        "a grace period does not end by itself",
        _ACCESS,
        "    return None if rule.keep_s is None else since + rule.keep_s\n",
        "    return None if rule.keep_s is None or rule.keep_s else since\n",
        _OF_ACCESS,
    ),
    Mutant(
        "a status that nobody knows counts as active",
        _ACCESS,
        "        return _unreadable(subscription, policy, now, until=None)\n",
        '        return _keep(account, replace(subscription, status="active"), policy, now, until=None)\n',
        _OF_ACCESS,
    ),
    Mutant(
        "a cancellation that is planned ends access at its date, whatever the status",
        _ACCESS,
        "    until = _kept_until(policy.lifecycle[subscription.status], _status_since(subscription))\n",
        "    until = subscription.cancel_at\n"
        "    if until is None:\n"
        "        until = _kept_until(policy.lifecycle[subscription.status], _status_since(subscription))\n",
        _OF_ACCESS,
    ),
    Mutant(
        "a dispute that is lost is open for good",
        "gateway/billing/reading.py",
        '"won", "lost", "warning_closed"',
        '"won", "warning_closed"',
        ("tests/billing/test_disputes.py",),
    ),
    Mutant(
        "a dead letter is dropped",
        _INBOX,
        'status="dead", finished_at=now, error=note(error))',
        'status="done", finished_at=now, error=note(error))',
        _OF_WORKER,
    ),
    Mutant(
        "who lets Stripe wait stands behind everybody",
        "gateway/ledger/turn.py",
        "        row = self._first if goes_first else self._others\n",
        "        row = self._others\n",
        ("tests/ledger/test_turn.py",),
    ),
    Mutant(
        "a turn that nobody takes is lost",
        "gateway/ledger/turn.py",
        "                self.release()\n",
        "                pass\n",
        ("tests/ledger/test_turn.py",),
    ),
    Mutant(
        "the claim of a worker that died never ends",
        _INBOX,
        "        is_due = (INBOX_IS_OPEN, INBOX.c.due_at <= now)\n",
        '        is_due = (INBOX.c.status == "pending", INBOX.c.due_at <= now)\n',
        _OF_WORKER,
    ),
    Mutant(
        "a claim reads all that waits",
        _INBOX,
        "        is_due = (INBOX_IS_OPEN, INBOX.c.due_at <= now)\n",
        '        is_due = (INBOX.c.status.in_(("pending", "claimed")), INBOX.c.due_at <= now)\n',
        _OF_INBOX,
    ),
    Mutant(
        "a claim that ran out is finished by its old owner",
        _INBOX,
        'INBOX.c.event_id.in_(event_ids), INBOX.c.status == "claimed", INBOX.c.claimed_by == worker)',
        'INBOX.c.event_id.in_(event_ids), INBOX.c.status == "claimed")',
        ("tests/ledger/test_inbox.py",),
    ),
    Mutant(
        "an outage uses up the tries of an event",
        "gateway/sync/in_hand.py",
        "            failed = not isinstance(error, _OUTAGES)\n",
        "            failed = True\n",
        _OF_WORKER,
    ),
    Mutant(
        "a sweep takes a thin event for lost that Stripe is delivering",
        _THIN,
        "_PATIENCE_S: Final = 600\n",
        "_PATIENCE_S: Final = 0\n",
        _OF_THIN,
    ),
    Mutant(
        "a sweep of thin events that was broken off is taken for whole",
        _SWEEPING,
        "                    swept = replace(swept, place=kept)\n",
        "                    swept = self._listing.end(place)\n",
        (*_OF_THIN, *_OF_SWEEPING),
    ),
    Mutant(
        "what the object of a thin event says is not listened to",
        _JUDGING,
        "        return owner.claimed if claimed == NOTHING_CLAIMED and owner is not None else claimed\n",
        "        return claimed\n",
        ("tests/billing/test_lost_customers.py",),
    ),
    Mutant(
        "a sweep takes an event for stored that the ledger refused",
        _SWEEPING,
        "                await self._store_missing(events)\n",
        "                try:\n"
        "                    await self._store_missing(events)\n"
        "                except Exception:\n"
        "                    pass\n",
        _OF_SWEEPING,
    ),
    Mutant(
        "two workers sweep at once",
        "gateway/ledger/sweeps.py",
        "(SWEEPS.c.claimed_until <= now) | (SWEEPS.c.claimed_by == worker)",
        "SWEEPS.c.claimed_until >= 0",
        ("tests/billing/test_sweeping.py",),
    ),
    Mutant(
        "what was swept is swept again by each process that starts",
        _THIN,
        "        return Swept(swept_to=place.wanted.until, types=place.wanted.types)\n",
        "        return Swept()\n",
        _OF_TOLD,
    ),
    Mutant(
        "a type that is new is taken for swept",
        _THIN,
        "            is_known = set(types).issubset(swept.types)\n",
        "            is_known = True\n",
        _OF_TOLD,
    ),
    Mutant(
        "an event that cannot be stored is answered as if it were",
        _RECEIVING,
        "    fate = await keep_event(envelope, is_live=is_live, ledger=ledger, now=now)\n    if fate",
        "    try:\n"
        "        fate = await keep_event(envelope, is_live=is_live, ledger=ledger, now=now)\n"
        "    except Exception:\n"
        '        fate = "ignored"\n'
        "    if fate",
        _OF_RECEIVING,
    ),
    Mutant(
        "an event of the other mode is ours",
        _RECEIVING,
        "    if envelope.livemode != is_live:\n",
        "    if envelope.livemode is None:\n",
        _OF_RECEIVING,
    ),
    Mutant(
        "a signature from the future is good",
        _WEBHOOK,
        "abs(now - int(signed_at)) > tolerance_s",
        "now - int(signed_at) > tolerance_s",
        ("tests/billing/test_webhook.py",),
    ),
    Mutant(
        "a customer that Stripe does not have keeps what it had",
        _PROJECTION,
        "        return _deleted(previous, policy, now), (\n",
        "        return previous, (\n",
        _OF_SYNC,
    ),
    Mutant(
        "a change is not carried to the cache",
        _CUSTOMERS,
        "            await self._publish(customer_id)\n",
        "            pass\n",
        _OF_SYNC,
    ),
    Mutant(
        "an event is answered before the commit that holds it",
        _TOGETHER,
        "        return await written\n",
        "        written.add_done_callback(lambda done: done.exception())\n"
        "        return True  # type: ignore[return-value]\n",
        _OF_TOGETHER,
    ),
    Mutant(
        "of events whose commit failed, only the first is told",
        _TOGETHER,
        "            for _, written in batch:\n",
        "            for _, written in batch[1:]:\n"
        "                written.set_result(True)  # type: ignore[arg-type]\n"
        "            for _, written in batch:\n",
        _OF_TOGETHER,
    ),
    Mutant(
        "an event that cannot be stored takes all with it that came at the same time",
        _TOGETHER,
        "            if len(batch) > 1 and not isinstance(error, LedgerUnavailable):\n",
        "            if not batch:\n",
        _OF_TOGETHER,
    ),
    Mutant(
        "of two deliveries in one commit, both are new",
        _INBOX,
        '            new.discard(row["event_id"])\n',
        "",
        _OF_INBOX,
    ),
    Mutant(
        "what else waits for the same customer is left for later",
        _INBOX,
        "        due = union(select(oldest.c.position), select(beside.c.position))\n",
        "        due = union(select(oldest.c.position), select(beside.c.position).where(False))\n",
        _OF_INBOX,
    ),
    Mutant(
        "customers are read without waiting for a turn",
        _WORKER,
        "            async with slots, self._sync.billing.pace.turn():\n"
        "                await self._has_worked(group, self._work_group(group))\n",
        "            async with slots:\n                await self._has_worked(group, self._work_group(group))\n",
        _OF_WORKER,
    ),
    Mutant(
        "too many requests do not slow down who made them",
        _PACE,
        "            self._gap_s = max(self._full_gap_s, min(2 * self._gap_s, 1 / _SLOWEST_PER_S))\n",
        "",
        _OF_PACE,
    ),
    Mutant(
        "work on events makes no room for requests that people wait for",
        "gateway/billing/transport.py",
        "        self._pace.count()\n",
        "",
        _OF_PACE,
    ),
    Mutant(
        "only what Stripe billed at the very beginning is a first payment: after a trial nobody has to pay",
        _FIRST,
        "    if latest.billing_reason == _RENEWAL and _pays_on(latest):\n",
        "    if True:\n",
        _OF_FIRST,
    ),
    Mutant(
        "a first payment that never came is forgotten with the second period",
        _FIRST,
        "    if latest.billing_reason == _RENEWAL and _pays_on(latest):\n",
        "    if latest.billing_reason == _RENEWAL:\n",
        _OF_FIRST,
    ),
    Mutant(
        "a first payment that never came is forgiven with its invoice",
        _FIRST,
        '    return invoice.status == "open" or invoice.billing_reason == AT_BEGINNING\n',
        '    return invoice.status == "open"\n',
        _OF_FIRST,
    ),
    Mutant(
        "a first payment that was given up is owed for good, whatever is paid later",
        _FIRST,
        "    if any(_pays_on(one) and ",
        "    if False and any(_pays_on(one) and ",
        _OF_FIRST,
    ),
    Mutant(
        "a credit for a period that nobody paid for pays for the next ones",
        _FIRST,
        "(invoice.amount_paid > 0 or invoice.total == 0)",
        "True",
        _OF_FIRST,
    ),
    Mutant(
        "a change that waits is taken for a first payment, and ends the trial that goes on",
        _FIRST,
        " if one.id != waited_for",
        "",
        _OF_FIRST,
    ),
    Mutant(
        "what begins to run while a page is made is not looked for: both can be paid",
        _CHECKOUT,
        "            read = await self._refuse_second(customer_id)\n"
        "            await refuse_suspended(self._sync, customer_id)\n"
        "            await self._end_idle(customer_id, read.idle)\n",
        "            pass\n",
        _OF_SECOND,
    ),
    Mutant(
        "whoever could begin to run again is sold another subscription beside it",
        _CHECKOUT,
        "            if not await self._billing.idle.end(subscription_id):\n",
        "            if False:\n",
        _OF_SECOND,
    ),
    Mutant(
        "an add-on does not end a trial",
        _TRIALS,
        " and not beside.added",
        "",
        _OF_TRIALS,
    ),
    Mutant(
        "a trial without a card is one of a plan that asks for a card",
        _TRIALS,
        "    if trial is None or (trial.without_card is None and (means is None or means.kind is None)):\n",
        "    if trial is None:\n",
        _OF_TRIALS,
    ),
    Mutant(
        "a change waits for a bank debit",
        "gateway/sync/paying.py",
        "    if means is None or not means.takes_days:\n",
        "    if True:\n",
        _OF_DEBITS,
    ),
    Mutant(
        "what a change gives up is removed while it waits, and takes its place",
        "gateway/sync/given_up.py",
        " and not facts.has_pending_update",
        "",
        ("tests/billing/test_left_behind.py",),
    ),
)
