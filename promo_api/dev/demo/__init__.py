"""The command `demo` (`make demo`): the service with a month of example data.

The data are planned with a fixed seed, and written by the functions of the service itself, in the order of their times,
while the clock of the database shows each time. So all rows, counts and events are as the service writes them.

| Module | What it does |
|---|---|
| command | the command, and what it prints |
| filling, steps, batches | write the plan, each entry by a function of the service |
| clock | the clock of the database |
| plan, rhythm | promos, activations, likes and comments, and when they happen |
| catalog, catalog_goods, catalog_leisure, offers | the companies and their promos |
| people, texts | users and their comments |
| redemptions, main_company, receiver | redemptions, what only the main company has, and the receiver of its webhook |
"""
