"""Tiny files in the form of the known sources, with what becomes of them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class KnownFile:
    """``rows``: transaction by user, as user_id, timestamp, amount; ``frauds``: how many labels say fraud."""

    text: str
    rows: list[tuple[str, str, float]]
    frauds: int = 0
    left_out: int = 0
    refunds: int = 0
    attributes: dict[str, list[Any]] = field(default_factory=dict)


def _paypal(*rows: str) -> str:
    head = '"Date","Time","TimeZone","Name","Type","Status","Currency","Gross","Fee","Net","From Email Address"'
    return "\n".join([head + ',"To Email Address","Transaction ID"', *rows]) + "\n"


KNOWN_FILES: dict[str, KnownFile] = {
    "paysim": KnownFile(
        "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,"
        "isFlaggedFraud\n"
        "1,PAYMENT,9839.64,C1231006815,170136.0,160296.36,M1979787155,0.0,0.0,0,0\n"
        "26,TRANSFER,181.0,C1305486145,181.0,0.0,C553264065,0.0,0.0,1,0\n",
        [("C1231006815", "2024-01-01 01:00:00", 9839.64), ("C1305486145", "2024-01-02 02:00:00", 181.0)],
        frauds=1,
        attributes={"old_balance_origin": [170136.0, 181.0], "merchant_category": ["PAYMENT", "TRANSFER"]},
    ),
    "banksim": KnownFile(
        "step,customer,age,gender,zipcodeOri,merchant,zipMerchant,category,amount,fraud\n"
        "0,'C1093826151','4','M','28007','M348934600','28007','es_transportation',4.55,0\n"
        "1,'C352968107','2','F','28007','M348934600','28007','es_health',39.68,1\n",
        [("C1093826151", "2024-01-01 00:00:00", 4.55), ("C352968107", "2024-01-02 00:00:00", 39.68)],
        frauds=1,
        attributes={"merchant_id": ["M348934600"] * 2, "age_group": ["4", "2"]},
    ),
    "tabformer": KnownFile(
        "User,Card,Year,Month,Day,Time,Amount,Use Chip,Merchant Name,Merchant City,Merchant State,Zip,MCC,Errors?,"
        "Is Fraud?\n"
        "0,0,2012,9,1,06:21,$134.09,Swipe Transaction,3527213246127876953,La Verne,CA,91750.0,5300,,No\n"
        "0,0,2012,9,2,06:42,$-99.00,Swipe Transaction,-727612092139916043,Monterey Park,CA,91754.0,5411,,No\n"
        "1,2,2012,9,3,17:18,$76.50,Online Transaction,-34551508091458520,ONLINE,,,5912,,Yes\n",
        [
            ("0", "2012-09-01 06:21:00", 134.09),
            ("0", "2012-09-02 06:42:00", 99.0),
            ("1", "2012-09-03 17:18:00", 76.5),
        ],
        frauds=1,
        refunds=1,
        attributes={"card_id": ["0-0", "0-0", "1-2"]},
    ),
    "sparkov": KnownFile(
        ",trans_date_trans_time,cc_num,merchant,category,amt,first,last,gender,street,city,state,zip,lat,long,city_pop,"
        "job,dob,trans_num,unix_time,merch_lat,merch_long,is_fraud\n"
        '0,2019-01-01 00:00:18,2703186189652095,"fraud_Rippin, Kub and Mann",misc_net,4.97,Jo,Ba,F,561 P,Moravian,NC,'
        '28654,36.07,-81.17,3495,"Psychologist, counselling",1988-03-09,0b242abb62,1325376018,36.01,-82.04,0\n',
        [("2703186189652095", "2019-01-01 00:00:18", 4.97)],
        attributes={"latitude": [36.01], "merchant_id": ["fraud_Rippin, Kub and Mann"], "city": ["Moravian"]},
    ),
    "ulb": KnownFile(
        '"Time",'
        + ",".join(f'"V{place}"' for place in range(1, 29))
        + ',"Amount","Class"\n'
        + "".join(
            f"{seconds}," + ",".join(f"{place / 4}" for place in range(28)) + f',{amount},"{verdict}"\n'
            for seconds, amount, verdict in ((0, 149.62, 0), (86401, 2.69, 1))
        ),
        [("", "2013-09-01 00:00:00", 149.62), ("", "2013-09-02 00:00:01", 2.69)],
        frauds=1,
        attributes={"v3": [0.5, 0.5]},
    ),
    "ieee_cis": KnownFile(
        "TransactionID,isFraud,TransactionDT,TransactionAmt,ProductCD,card1,card2,card3,card4,card5,card6,addr1,addr2,"
        "dist1,P_emaildomain,C1,D1,M1,V1\n"
        "2987000,0,86400,68.5,W,13926,,150.0,discover,142.0,credit,315.0,87.0,19.0,,1.0,14.0,T,1.0\n"
        "2987001,0,172800,7.5,W,13926,,150.0,discover,142.0,credit,315.0,87.0,19.0,,1.0,15.0,T,1.0\n"
        "2987002,0,172801,8.5,W,13926,,150.0,discover,142.0,credit,,,,,1.0,15.0,T,1.0\n",
        [
            ("13926-150.0-142.0-315.0-d-13", "2017-12-02 00:00:00", 68.5),
            ("13926-150.0-142.0-315.0-d-13", "2017-12-03 00:00:00", 7.5),
            ("payment-2987002", "2017-12-03 00:00:01", 8.5),
        ],
        attributes={"card_network": ["discover"] * 3, "d1": [14.0, 15.0, 15.0]},
    ),
    "s_ffsd": KnownFile(
        "Time,Source,Target,Amount,Location,Type,Labels\n0,S10000,T1000,13.74,L100,TP100,1\n"
        "1,S10001,T1001,73.17,L101,TP101,2\n2,S10002,T1002,68.65,L102,TP102,0\n",
        [
            ("S10000", "2024-01-01 00:00:00", 13.74),
            ("S10001", "2024-01-01 00:01:00", 73.17),
            ("S10002", "2024-01-01 00:02:00", 68.65),
        ],
        frauds=1,
        attributes={"city": ["L100", "L101", "L102"]},
    ),
    "ibm_aml": KnownFile(
        "Timestamp,From Bank,Account,To Bank,Account,Amount Received,Receiving Currency,Amount Paid,Payment Currency,"
        "Payment Format,Is Laundering\n"
        "2022/09/01 00:20,010,8000EBD30,011,8000EBD31,3697.34,US Dollar,3697.34,US Dollar,Reinvestment,1\n",
        [("010-8000EBD30", "2022-09-01 00:20:00", 3697.34)],
        frauds=1,
        attributes={"merchant_id": ["011-8000EBD31"], "payment_currency": ["US Dollar"]},
    ),
    "saml_d": KnownFile(
        "Time,Date,Sender_account,Receiver_account,Amount,Payment_currency,Received_currency,Sender_bank_location,"
        "Receiver_bank_location,Payment_type,Is_laundering,Laundering_type\n"
        "10:35:19,2022-10-07,8724731955,2769355426,1459.15,UK pounds,UK pounds,UK,UK,Cash Deposit,1,Smurfing\n",
        [("8724731955", "2022-10-07 10:35:19", 1459.15)],
        frauds=1,
        attributes={"receiver_country": ["UK"], "country": ["UK"]},
    ),
    "simulated_cards": KnownFile(
        "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_TIME_SECONDS,TX_TIME_DAYS,TX_FRAUD,"
        "TX_FRAUD_SCENARIO\n0,2018-04-01 00:00:31,596,3156,57.16,31,0,1,2\n",
        [("596", "2018-04-01 00:00:31", 57.16)],
        frauds=1,
    ),
    "stripe_payments": KnownFile(
        "id,Created date (UTC),Amount,Amount Refunded,Currency,Status,Customer ID,Customer Email,Card Brand,"
        "Disputed Amount,Dispute Date (UTC),Dispute Reason,Dispute Status\n"
        "ch_1,2025-11-01 10:00,10.50,0,eur,Paid,cus_1,a@example.com,Visa,,,,\n"
        "ch_2,2025-11-01 11:00,20.00,0,eur,Failed,cus_2,b@example.com,Visa,,,,\n"
        "ch_3,2025-11-01 12:00,30.00,30.00,eur,Refunded,,c@example.com,Visa,,,,\n",
        [("cus_1", "2025-11-01 10:00:00", 10.5), ("c@example.com", "2025-11-01 12:00:00", 30.0)],
        left_out=1,
        attributes={"card_brand": ["Visa", "Visa"], "status": ["Paid", "Refunded"]},
    ),
    "paypal_activity": KnownFile(
        _paypal(
            '"11/26/2025","10:00:00","PST","Ann","Express Checkout Payment","Completed","USD","1,234.50","-30","1",'
            '"ann@example.com","shop@example.com","T1"',
            '"11/26/2025","11:00:00","PST","","General Withdrawal","Completed","USD","-500.00","0","-500",'
            '"shop@example.com","","T2"',
            '"11/27/2025","10:00:00","PST","Ann","Payment Refund","Completed","USD","-34.50","0","-34.50",'
            '"shop@example.com","ann@example.com","T3"',
            '"11/27/2025","12:00:00","PST","Bob","Website Payment","Pending","USD","5.00","0","5",'
            '"bob@example.com","shop@example.com","T4"',
        ),
        [("ann@example.com", "2025-11-26 18:00:00", 1234.5), ("ann@example.com", "2025-11-27 18:00:00", 34.5)],
        left_out=2,
        refunds=1,
    ),
    "shopify_orders": KnownFile(
        "Name,Email,Financial Status,Paid at,Currency,Subtotal,Total,Created at,Lineitem quantity,Lineitem name,"
        "Billing City,Billing Country,Payment Method,Vendor,Id,Risk Level\n"
        "#1001,a@example.com,paid,2025-11-01 10:00:05 -0500,USD,20.00,24.00,2025-11-01 10:00:00 -0500,1,Cup,Oslo,NO,"
        "Shopify Payments,Shop,5001,Low\n"
        "#1001,a@example.com,,,,,,2025-11-01 10:00:00 -0500,1,Plate,,,,Shop,,\n"
        "#1002,b@example.com,voided,,USD,5.00,5.00,2025-11-01 11:00:00 -0500,1,Cup,Rome,IT,Shopify Payments,Shop,5002,"
        "Low\n",
        [("a@example.com", "2025-11-01 15:00:00", 24.0)],
        left_out=2,
        attributes={"order_name": ["#1001"], "city": ["Oslo"], "risk_level": ["Low"]},
    ),
    "german_bank": KnownFile(
        '"Auftragskonto";"Buchungstag";"Valutadatum";"Buchungstext";"Verwendungszweck";'
        '"Beguenstigter/Zahlungspflichtiger";"Kontonummer/IBAN";"BIC (SWIFT-Code)";"Betrag";"Waehrung";"Info"\n'
        '"DE01";"26.11.25";"26.11.25";"KARTENZAHLUNG";"Einkauf";"Markt";"DE02";"X";"-1.234,56";"EUR";"gebucht"\n'
        '"DE01";"27.11.25";"27.11.25";"GUTSCHRIFT";"Lohn";"Firma";"DE03";"X";"2.000,00";"EUR";"gebucht"\n',
        [("DE01", "2025-11-26 00:00:00", 1234.56)],
        left_out=1,
        attributes={"merchant_id": ["DE02"], "purpose": ["Einkauf"]},
    ),
    "berka": KnownFile(
        '"trans_id";"account_id";"date";"type";"operation";"amount";"balance";"k_symbol";"bank";"account"\n'
        '1;"576";"980101";"PRIJEM";"VKLAD";700.00;700.00;"";"";""\n'
        '2;"576";"980102";"VYDAJ";"PREVOD NA UCET";200.50;499.50;"SIPO";"AB";"41403269"\n',
        [("576", "1998-01-02 00:00:00", 200.5)],
        left_out=1,
        attributes={"balance": [499.5], "merchant_id": ["41403269"]},
    ),
}
"""Name of the source → a file."""

KNOWN_DISPUTES: dict[str, str] = {
    "stripe_disputes": "Charge ID,Created (UTC),Amount,Currency,Reason,Status\n"
    "ch_1,2025-11-10 08:00,10.50,eur,fraudulent,lost\n",
    "adyen_disputes": "Company Account,Merchant Account,Psp Reference,Merchant Reference,Record Date,"
    "Record Date TimeZone,Dispute Currency,Record Type,Dispute Reason\n"
    "C,M,P1,ch_1,2025-11-10 08:00:00,CET,EUR,NotificationOfChargeback,Fraud: card absent\n",
    "paypal_cases": "Case ID,Transaction ID,Case Type,Case Reason,Case Status,Case Filing Date\n"
    "PP-1,ch_1,Chargeback,Unauthorized transaction,Open,2025-11-10 08:00\n",
}
"""Name of the source → a file with one dispute of the payment ch_1, for fraud."""
